"""The requests that are under way, for those who ask what the server does and who waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from corral import caller, requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.caller import Caller
from corral.requestfacts import RequestFacts

# Of the time that a request works, what the newest one counts in the average of its model.
_NEWEST_SHARE = 0.2
# Models whose average is kept.
_MAX_MODELS = 200


@dataclass(frozen=True, slots=True, eq=False)
class LiveRequest:
    """A request under way; `who` sent it."""

    facts: RequestFacts
    path: str
    who: Caller


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is. `position` is 1 for the next that gets a place, 0 for one that works; times in ms.

    `eta_ms`: how long it is expected to wait; None where no request of the model has ended yet.
    """

    request: LiveRequest
    position: int
    waited_ms: float
    eta_ms: float | None


class LiveRequests:
    """A step, and what it knows. Only requests that run models are of interest. Belongs to the event loop."""

    def __init__(self) -> None:
        self._requests: dict[LiveRequest, None] = {}
        self._work_ms: dict[str, float] = {}

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        if exchange.route is None or exchange.route.scope != "infer":
            await following(exchange)
            return
        request = self.begin(requestfacts.current(), exchange.route.path)
        try:
            await following(exchange)
        finally:
            self.end(request)

    def begin(self, facts: RequestFacts, path: str) -> LiveRequest:
        request = LiveRequest(facts, path, caller.current())
        self._requests[request] = None
        return request

    def end(self, request: LiveRequest) -> None:
        """Forget a request, and learn from it how long requests of its model work."""
        self._requests.pop(request, None)
        facts = request.facts
        if not facts.first_piece_ns:
            return
        work_ns = time.perf_counter_ns() - facts.begun_ns - facts.queue_ns - facts.load_ns
        model, work_ms = facts.served_model, max(work_ns, 0) / 1e6
        known = self._work_ms.pop(model, work_ms)
        self._work_ms[model] = known + _NEWEST_SHARE * (work_ms - known)
        if len(self._work_ms) > _MAX_MODELS:
            del self._work_ms[next(iter(self._work_ms))]

    def places(self, slots: dict[str, int]) -> Iterator[Place]:
        """Every request that uses or wants a model, in the order of arrival. `slots`: of each loaded model."""
        positions: dict[str, int] = {}
        now_ns = time.perf_counter_ns()
        for request in self._requests:
            facts = request.facts
            if not facts.stage:
                continue
            model, position, eta_ms = facts.wanted_model, 0, None
            waited_ns = facts.queue_ns + facts.load_ns
            if facts.stage != "running":
                position = positions[model] = positions.get(model, 0) + 1
                waited_ns += now_ns - facts.stage_ns
                work_ms = self._work_ms.get(model)
                eta_ms = None if work_ms is None else position * work_ms / max(slots.get(model, 1), 1)
            yield Place(request, position, waited_ns / 1e6, eta_ms)
