"""Routes whose work the original hands to its hosted service. This server runs models here: it says so, in the
original's words for a server that has the hosted service switched off (docs/differences.md)."""

from __future__ import annotations

from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.errors import CloudDisabledError, InvalidRequestError
from corral.golang.json import encode

_RECOMMENDATIONS = encode(
    {
        "recommendations": [
            {
                "model": "corral-tiny",
                "description": "A chat model of 4 MB that ships with the server: to try things without a network",
                "context_length": 2048,
            }
        ]
    }
)


class ElsewhereRoutes:
    """Handlers without state of their own."""

    def __init__(self, *, max_body_bytes: int, max_depth: int) -> None:
        del max_depth  # what they are sent is not read
        self._max_body_bytes = max_body_bytes

    async def web_search(self, exchange: Exchange) -> None:
        await self._refuse(exchange, "web search")

    async def web_fetch(self, exchange: Exchange) -> None:
        await self._refuse(exchange, "web fetch")

    async def recommendations(self, exchange: Exchange) -> None:
        await exchange.respond(200, _RECOMMENDATIONS, JSON_UTF8)

    async def _refuse(self, exchange: Exchange, what: str) -> None:
        if not (await exchange.read_body(self._max_body_bytes)).strip():
            raise InvalidRequestError("missing request body")
        raise CloudDisabledError(f"ollama cloud is disabled: {what} is unavailable")
