"""Routes whose work Ollama hands to its hosted service. They are refused in Ollama's words for a server that has the
hosted service switched off (docs/differences.md)."""

from __future__ import annotations

import os

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


async def web_search(exchange: Exchange) -> None:
    await _refuse(exchange, "web search")


async def web_fetch(exchange: Exchange) -> None:
    await _refuse(exchange, "web fetch")


async def recommendations(exchange: Exchange) -> None:
    await exchange.respond(200, _RECOMMENDATIONS, JSON_UTF8)


async def _refuse(exchange: Exchange, what: str) -> None:
    if not (await exchange.read_body()).strip():
        raise InvalidRequestError("missing request body")
    raise CloudDisabledError(f"ollama cloud is disabled: {what} is unavailable")


def cloud_source() -> str:
    """What switched the hosted service off: `env` if the variable is set, as in Ollama."""
    return "env" if os.environ.get("OLLAMA_NO_CLOUD", "").lower() in ("1", "t", "true") else "config"
