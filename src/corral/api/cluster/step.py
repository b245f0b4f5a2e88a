"""The step of a server that is one of a cluster: requests that others pass on, and those that may go to others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from corral import caller
from corral.api.cluster.gateway import Gateway
from corral.api.cluster.hopping import serve_hop
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler

# Answers in place of the handler that follows, or lets it answer.
Special = Callable[[Exchange, Handler], Awaitable[None]]


class ClusterStep:
    """After those that say who the caller is and what it may do. `special`: by method and path of the route.

    What another server passes on is served here, whatever it is: no request makes more than one hop.
    """

    def __init__(self, gateway: Gateway, special: Mapping[tuple[str, str], Special]) -> None:
        self._gateway = gateway
        self._special = special

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        route = exchange.route
        if route is None:
            await following(exchange)
        elif caller.current().gateway:
            await serve_hop(exchange, following)
        elif (special := self._special.get((exchange.method, route.path))) is not None:
            await special(exchange, following)
        elif self._gateway.takes(route, exchange.method):
            await self._gateway.handle(exchange, following)
        else:
            await following(exchange)
