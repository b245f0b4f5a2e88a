"""The last requests that ran models, for those who look at what the server does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from corral import caller, requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.caller import Caller

_KEPT = 200


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that was answered; `ended_ns` is wall-clock time, `error` the class of what went wrong."""

    request_id: str
    key_id: str
    path: str
    status: int
    ended_ns: int
    ms: float
    model: str
    prompt_tokens: int
    tokens: int
    tokens_per_s: float
    error: str


class RecentRequests:
    """A step, outside of the one that answers errors, and what it keeps."""

    def __init__(self) -> None:
        self._kept: deque[Ended] = deque(maxlen=_KEPT)

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        await following(exchange)
        route = exchange.route
        if route is not None and route.scope == "infer" and exchange.method == "POST":
            self._kept.append(_ended(exchange, route.path))

    def newest(self, who: Caller) -> Iterator[Ended]:
        """Those that a caller may see: a key its own, an admin all. The newest comes first."""
        for ended in reversed(self._kept):
            if "admin" in who.scopes or ended.key_id == who.key_id:
                yield ended


def _ended(exchange: Exchange, path: str) -> Ended:
    facts = requestfacts.current()
    return Ended(
        facts.request_id,
        caller.current().key_id,
        path,
        exchange.status,
        time.time_ns(),
        (time.perf_counter_ns() - facts.begun_ns) / 1e6,
        facts.served_model or requestfacts.named(facts.model),
        facts.prompt_tokens,
        facts.tokens,
        facts.tokens * 1e9 / facts.predicted_ns if facts.predicted_ns else 0.0,
        (exchange.failure or facts.error).partition("(")[0] or ("refused" if exchange.refusal else ""),
    )
