"""How steps refuse a request."""

from __future__ import annotations

from corral.api.http.errors import error_body
from corral.api.http.exchange import JSON_UTF8, Exchange

# How much of what a client sent is shown in a reason, in characters.
MAX_NAMED = 100


async def forbid(exchange: Exchange, reason: str) -> None:
    """Refuse, and give the reason in the body and in the log; Ollama's body is empty."""
    exchange.refusal = reason
    await exchange.respond(403, error_body(reason), JSON_UTF8)
