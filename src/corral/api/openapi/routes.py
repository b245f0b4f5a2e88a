"""The routes of the description itself."""

from __future__ import annotations

from collections.abc import Sequence

from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.routing import Route, Surface
from corral.api.openapi.document import make_document
from corral.api.reading.schema import ANYTHING
from corral.golang.json import encode


def described(surfaces: Sequence[Surface]) -> list[Surface]:
    """The surfaces, and after them the one that describes them all. The first is the native one."""
    all_surfaces = [*surfaces]
    made: list[bytes] = []

    async def openapi(exchange: Exchange) -> None:
        if not made:
            made.append(encode(make_document(all_surfaces)))  # when it is first asked for
        await exchange.respond(200, made[0], JSON_UTF8)

    routes = (
        Route("GET HEAD", "/openapi.json", openapi, "This description", scope="open", answers=ANYTHING),
    )
    all_surfaces.append(Surface("description", routes, surfaces[0].error))
    return all_surfaces
