"""Counts every request in the metrics and in the usage ledger, once it has been answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from corral import caller, requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.metrics.server import Served
from corral.requestfacts import RequestFacts
from corral.usage.ledger import Use

_STATUS_GONE = 499
# Both count what comes in here.
Count: TypeAlias = Callable[[Served, RequestFacts], None]


class Measure:
    """The step, the outermost one. `counters` get every request, also one that the end of the server cuts off."""

    def __init__(self, counters: list[Count]) -> None:
        self._counters = counters

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        try:
            await following(exchange)
        finally:
            facts = requestfacts.current()
            served = _served(exchange, facts)
            for count in self._counters:
                count(served, facts)


def _served(exchange: Exchange, facts: RequestFacts) -> Served:
    route = exchange.route
    # The class of an error is its kind; its text may hold anything.
    reason = (exchange.failure or facts.error).partition("(")[0]
    return Served(
        exchange.surface,
        route.path if route is not None else "",
        exchange.status,
        reason or ("refused" if exchange.refusal else ""),
        (time.perf_counter_ns() - facts.begun_ns) / 1e9,
        is_use=bool(facts.served_model)
        or (route is not None and route.scope == "infer" and exchange.method == "POST"),
        key=caller.current().key_id,
        is_hop=bool(caller.current().gateway),
    )


def use_of(served: Served, facts: RequestFacts) -> Use:
    """What the ledger says of a request."""
    is_cancelled = served.status in (0, _STATUS_GONE)
    return Use(
        served.key,
        facts.served_model,
        served.surface,
        is_error=not is_cancelled and (served.status >= 400 or bool(served.reason)),
        is_cancelled=is_cancelled,
        prompt=facts.prompt_tokens,
        cached=facts.cached_tokens,
        generated=facts.tokens,
        drafted=facts.guessed_tokens,
        ms=served.seconds * 1000,
    )
