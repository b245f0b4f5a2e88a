"""Finds the route before the steps that want to know it, and runs its handler after them."""

from __future__ import annotations

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler, Router


class Dispatch:
    """The step `find` comes before those that depend on the route; the handler `run` ends the chain."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def find(self, exchange: Exchange, following: Handler) -> None:
        if exchange.method == "OPTIONS" and exchange.path == "*":
            await exchange.respond(200)  # the server as a whole is asked, not a route
            return
        exchange.handler = self._router.find(exchange)
        await following(exchange)

    async def run(self, exchange: Exchange) -> None:
        handler = exchange.handler
        assert handler is not None, "find comes first"
        await handler(exchange)
