"""The handler of `/metrics`."""

from __future__ import annotations

import asyncio
import time

from corral.api.http.exchange import Exchange
from corral.metrics.server import ServerMetrics, StoreSize
from corral.metrics.text import content_type, render

_STORE_AGE_S = 30.0


class MetricsHandler:
    """Answers in the format that the client accepts. The store is looked at no more often than twice a minute."""

    def __init__(self, metrics: ServerMetrics, store: StoreSize) -> None:
        self._metrics = metrics
        self._store = store
        self._store_read_s = -_STORE_AGE_S

    async def get(self, exchange: Exchange) -> None:
        now_s = time.monotonic()
        if now_s - self._store_read_s >= _STORE_AGE_S:
            self._store_read_s = now_s
            await asyncio.to_thread(self._store.read)
        kind = content_type(exchange.header(b"accept"))
        await exchange.respond(200, render(self._metrics.families, kind).encode(), kind)
