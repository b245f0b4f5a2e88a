"""The routes of the description itself: `/openapi.json` and `/docs`."""

from __future__ import annotations

from collections.abc import Sequence

from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.routing import Route, Surface
from corral.api.openapi.document import make_document
from corral.api.openapi.page import page_file
from corral.api.reading.schema import ANYTHING
from corral.golang.json import encode


def with_description(surfaces: Sequence[Surface]) -> list[Surface]:
    """The surfaces, and what describes them all: a document for programs and a page for people.

    The first surface is the native one. The page is not in the document.
    """
    error = surfaces[0].error
    made: list[bytes] = []

    async def openapi(exchange: Exchange) -> None:
        if not made:
            made.append(encode(make_document(everything)))  # when it is first asked for
        await exchange.respond(200, made[0], JSON_UTF8)

    document = Route("GET HEAD", "/openapi.json", openapi, "This description", scope="open", answers=ANYTHING)
    description = Surface("description", "This description", (document,), error)
    everything = [*surfaces, description, Surface("page", "", _page(), error)]
    return everything


def _page() -> tuple[Route, ...]:
    return (
        Route(
            "GET HEAD", "/docs", page_file("index.html", "text/html; charset=utf-8"), "A page", scope="open"
        ),
        Route(
            "GET HEAD",
            "/docs/docs.css",
            page_file("docs.css", "text/css; charset=utf-8"),
            "Its style",
            scope="open",
        ),
        Route(
            "GET HEAD",
            "/docs/docs.js",
            page_file("docs.js", "text/javascript; charset=utf-8"),
            "Its script",
            scope="open",
        ),
    )
