"""The routes of the page: `/ui/` and its files.

They are open. What the page shows comes through the API, with its keys.
"""

from __future__ import annotations

import asyncio

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Route, Surface
from corral.api.reading.schema import Answer
from corral.api.ui.files import INDEX, PageFile, page_files
from corral.api.ui.negotiation import choose_coding, is_known

# Only the page's own files run, they reach only this server, nothing of HTML becomes a script, and no other page may
# show this one in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:;"
    " font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types corral dompurify"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),
]
_LASTING = b"public, max-age=31536000, immutable"
_CHECKED = b"no-cache"


def page_surface(error: Answer) -> Surface:
    """The surface `ui`. It is a page, not an API: the description of the APIs does not have it."""
    routes = (
        Route("GET HEAD", "/ui", _to_page, "The way to the page", scope="open", statuses=(307,)),
        Route("GET HEAD", "/ui/", _index, "The page", scope="open"),
        Route("GET HEAD", "/ui/:name", _file, "A file of the page", scope="open"),
    )
    return Surface("ui", "", routes, error)


async def _to_page(exchange: Exchange) -> None:
    # Relative, so that it holds below the prefix of a proxy too.
    await exchange.respond(307, headers=[(b"location", b"ui/")])


async def _index(exchange: Exchange) -> None:
    await _answer(exchange, INDEX)


async def _file(exchange: Exchange) -> None:
    await _answer(exchange, exchange.params["name"])


async def _answer(exchange: Exchange, name: str) -> None:
    found = (await asyncio.to_thread(page_files)).get(name)
    if found is None:
        await exchange.respond(404, b"404 page not found", "text/plain; charset=utf-8", list(_HEADERS))
        return
    coding = choose_coding(exchange.header(b"accept-encoding"), found.codings)
    etag = f'"{found.digest}-{coding}"'
    headers = [*_HEADERS, *_validators(found, etag)]
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
