"""The routes of the page: `/ui/` and its files.

They are open. What the page shows comes through the API, with its keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Route, Surface
from corral.api.reading.schema import Answer
from corral.api.ui.files import INDEX, PageFile, page_files
from corral.api.ui.negotiation import choose_coding, is_known

# Only the page's own files run, they reach only this server, nothing of HTML becomes a script, and no other page may
# show this one in a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:;"
    " font-src 'self'; connect-src 'self'%s; worker-src 'self'; manifest-src 'self'; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types corral dompurify"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),
]
_LASTING = b"public, max-age=31536000, immutable"
_CHECKED = b"no-cache"


def page_surface(error: Answer, tool_origins: Sequence[str] = ()) -> Surface:
    """The surface `ui`. It is a page, not an API: the description of the APIs does not have it.

    `tool_origins`: the other servers that the page may ask.
    """
    page = _Page(tool_origins)
    routes = (
        Route("GET HEAD", "/ui", _to_page, "The way to the page", scope="open", statuses=(307,)),
        Route("GET HEAD", "/ui/", page.index, "The page", scope="open"),
        Route("GET HEAD", "/ui/:name", page.file, "A file of the page", scope="open"),
    )
    return Surface("ui", "", routes, error)


async def _to_page(exchange: Exchange) -> None:
    # Relative, so that it holds below the prefix of a proxy too.
    await exchange.respond(307, headers=[(b"location", b"ui/")])


class _Page:
    """The handlers of the files."""

    def __init__(self, tool_origins: Sequence[str]) -> None:
        policy = _POLICY % "".join(f" {origin}" for origin in tool_origins)
        self._headers = [(b"content-security-policy", policy.encode("ascii")), *_HEADERS]

    async def index(self, exchange: Exchange) -> None:
        await self._answer(exchange, INDEX)

    async def file(self, exchange: Exchange) -> None:
        await self._answer(exchange, exchange.params["name"])

    async def _answer(self, exchange: Exchange, name: str) -> None:
        found = (await asyncio.to_thread(page_files)).get(name)
        if found is None:
            await exchange.respond(404, b"404 page not found", "text/plain; charset=utf-8", self._headers)
            return
        coding = choose_coding(exchange.header(b"accept-encoding"), found.codings)
        etag = f'"{found.digest}-{coding}"'
        headers = [*self._headers, *_validators(found, etag)]
        if is_known(exchange.header(b"if-none-match"), etag):
            await exchange.respond(304, headers=headers)
            return
        if coding != "identity":
            headers.append((b"content-encoding", coding.encode("ascii")))
        await exchange.respond(200, found.codings[coding], found.content_type, headers)


def _validators(found: PageFile, etag: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"cache-control", _LASTING if found.is_lasting else _CHECKED),
        (b"etag", etag.encode("ascii")),
        (b"vary", b"Accept-Encoding"),
    ]
