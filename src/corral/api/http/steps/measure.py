"""Counts every request in the metrics, once it has been answered."""

from __future__ import annotations

import time

from corral import requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.metrics.server import Served, ServerMetrics


class Measure:
    """The step. What follows must answer errors: nothing is counted for what it raises."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        await following(exchange)
        facts = requestfacts.current()
        route = exchange.route
        # The class of an error is its kind; its text may hold anything.
        reason = (exchange.failure or facts.error).partition("(")[0]
        served = Served(
            exchange.surface,
            route.path if route is not None else "",
            exchange.status,
            reason or ("refused" if exchange.refusal else ""),
            (time.perf_counter_ns() - facts.begun_ns) / 1e9,
        )
        self._metrics.served(served, facts)
