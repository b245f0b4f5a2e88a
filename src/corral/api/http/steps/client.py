"""Finds out where a request comes from, before anything depends on it."""

from __future__ import annotations

from corral.access.addresses import Proxies
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler


class FindClient:
    """The step for the address, and what trusted proxies say of it."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        exchange.client = self._proxies.client(
            exchange.peer, exchange.all_headers, is_encrypted=exchange.is_encrypted
        )
        await following(exchange)
