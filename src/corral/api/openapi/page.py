"""The page at `/docs` that shows the description and sends requests: files of the package, nothing from elsewhere."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.resources import files

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler

# Only the server's own scripts and styles run, and they reach only the server. No page may show this one in a frame,
# where clicks could be made to hit the wrong thing.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


def page_file(name: str, content_type: str) -> Handler:
    """A handler that answers with a file of the page."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, await asyncio.to_thread(_read, name), content_type, _HEADERS)

    return answer


@cache
def _read(name: str) -> bytes:
    return (files("corral.assets") / "docs" / name).read_bytes()
