"""Refuses requests under foreign host names: a page can make its own name point to this machine (DNS rebinding)."""

from __future__ import annotations

from corral.api.http.exchange import Exchange
from corral.api.http.origins import HostGuard
from corral.api.http.routing import Handler
from corral.api.http.steps.refusal import MAX_NAMED, forbid


class CheckHost:
    """The step for the `Host` header."""

    def __init__(self, guard: HostGuard) -> None:
        self._guard = guard

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        if not exchange.peer:
            await following(exchange)  # no browser comes over a unix socket
            return
        host = exchange.header(b"host")
        verdict = self._guard.verdict(host)
        if not verdict:
            reason = f"host {host[:MAX_NAMED]!r} is not allowed while the server listens on loopback only"
            await forbid(
                exchange, f"{reason}; use localhost or an IP address, or set the Host header in the proxy"
            )
        elif verdict == "name" and exchange.method == "OPTIONS":
            await exchange.respond(204)
        else:
            await following(exchange)
