"""The requests that are under way, for those who ask what the server does and who waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TypeVar

from corral import caller, requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.caller import Caller
from corral.errors import RequestCancelledError
from corral.line import Turn
from corral.requestfacts import RequestFacts

# Of the time that a request works, what the newest one counts in the average of its model.
_NEWEST_SHARE = 0.2
# Models whose average is kept, and whose tokens are counted.
_MAX_MODELS = 200
_MAX_RETRY_AFTER_S = 600
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, eq=False)
class LiveRequest:
    """A request under way; `who` sent it, `cancel` ends it with an error for its client."""

    facts: RequestFacts
    path: str
    who: Caller
    cancel: Callable[[], None]

    def is_shown_to(self, who: Caller) -> bool:
        """A key sees its own requests, an admin all."""
        return "admin" in who.scopes or self.who.key_id == who.key_id

    def may_be_cancelled_by(self, who: Caller) -> bool:
        """The same; of callers without a key only those of the same address."""
        return self.is_shown_to(who) and (
            "admin" in who.scopes or bool(who.key_id) or self.who.address == who.address
        )

    @property
    def tokens_per_s(self) -> float:
        """Of its reply so far, from the first token on; 0 before the second."""
        facts = self.facts
        return (facts.piece_count - 1) * 1e9 / facts.reply_ns if facts.reply_ns else 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is. `position` is 1 for the next that gets a place, 0 for one that works; times in ms.

    `eta_ms`: how long it is expected to wait; None where no request of the model has ended yet.
    """

    request: LiveRequest
    position: int
    waited_ms: float
    eta_ms: float | None


@dataclass(frozen=True, slots=True)
class NextPlace:
    """Where the next request of a model would be, after those that wait for it: see `Place`."""

    waiting: int
    position: int
    eta_ms: float | None


class LiveRequests:
    """A step, and what it knows. Only requests that run models are of interest. Belongs to the event loop.

    `slots_of`: how many requests a model serves at a time; 0 if it is not loaded.
    """

    def __init__(self, slots_of: Callable[[str], int] = lambda _model: 0) -> None:
        self._slots_of = slots_of
        self._requests: dict[LiveRequest, None] = {}
        self._work_ms: dict[str, float] = {}
        self._made_tokens: dict[str, int] = {}

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        if exchange.route is None or exchange.route.scope != "infer":
            await following(exchange)
            return
        facts = requestfacts.current()
        request = self.begin(facts, exchange.route.path, partial(exchange.end, RequestCancelledError))
        exchange.retry_after_s = lambda: self._retry_after_s(facts.wanted_model)
        facts.on_wait = lambda: exchange.extra_headers.extend(self._place_headers(request))
        try:
            await following(exchange)
        finally:
            facts.on_wait = None  # it holds the exchange
            self.end(request)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way."""
        return not self._requests

    def begin(self, facts: RequestFacts, path: str, cancel: Callable[[], None] = lambda: None) -> LiveRequest:
        request = LiveRequest(facts, path, caller.current(), cancel)
        self._requests[request] = None
        return request

    def end(self, request: LiveRequest) -> None:
        """Forget a request, and learn from it how long requests of its model work."""
        self._requests.pop(request, None)
        facts = request.facts
        if not facts.first_piece_ns:
            return
        model = facts.served_model
        _keep(self._made_tokens, model, self._made_tokens.pop(model, 0) + facts.piece_count)
        work_ns = time.perf_counter_ns() - facts.begun_ns - facts.queue_ns - facts.load_ns
        work_ms = max(work_ns, 0) / 1e6
        known = self._work_ms.pop(model, work_ms)
        _keep(self._work_ms, model, known + _NEWEST_SHARE * (work_ms - known))

    def cancel(self, request_id: str, who: Caller) -> int:
        """End the requests of an id that the caller may end, and say how many; clients may use an id twice."""
        found = [
            request
            for request in self._requests
            if request.facts.request_id == request_id and request.may_be_cancelled_by(who)
        ]
        for request in found:
            request.cancel()
        return len(found)

    def made_tokens(self) -> dict[str, int]:
        """How many tokens each model has made since the server began, those of unfinished replies included."""
        made = dict(self._made_tokens)
        for request in self._requests:
            if count := request.facts.piece_count:
                made[request.facts.served_model] = made.get(request.facts.served_model, 0) + count
        return made

    def places(self, who: Caller | None = None) -> Iterator[Place]:
        """Every request that uses or wants a model, in the order of arrival; only those that `who` may see."""
        positions = {
            request: position
            for model in {request.facts.wanted_model for request in self._requests}
            for position, request in enumerate(self._in_turn(model), start=1)
        }
        now_ns = time.perf_counter_ns()
        for request in self._requests:
            facts = request.facts
            if not facts.stage or (who is not None and not request.is_shown_to(who)):
                continue
            waited_ns, eta_ms = facts.queue_ns + facts.load_ns, None
            if position := positions.get(request, 0):
                waited_ns += now_ns - facts.stage_ns
                eta_ms = self._eta_ms(facts.wanted_model, position)
            yield Place(request, position, waited_ns / 1e6, eta_ms)

    def next_place(self, model: str, running: int) -> NextPlace:
        """Where one more request would be, of a loaded model with this many that run."""
        waiting = len(self._in_turn(model))
        position = waiting + 1 if waiting or running >= max(self._slots_of(model), 1) else 0
        return NextPlace(waiting, position, self._eta_ms(model, position) if position else 0.0)

    def _in_turn(self, model: str) -> list[LiveRequest]:
        return in_turn(
            request
            for request in self._requests
            if request.facts.wanted_model == model and request.facts.stage in ("queued", "slot")
        )

    def _eta_ms(self, model: str, position: int) -> float | None:
        work_ms = self._work_ms.get(model)
        return None if work_ms is None else position * work_ms / max(self._slots_of(model), 1)

    def _retry_after_s(self, model: str) -> int:
        """When the next request of a model is expected to end, which makes a place in its queue."""
        return min(max(ceil((self._eta_ms(model, 1) or 0.0) / 1000), 1), _MAX_RETRY_AFTER_S)

    def _place_headers(self, request: LiveRequest) -> list[tuple[bytes, bytes]]:
        """What the answer of a request says that begins to wait now."""
        model = request.facts.wanted_model
        waiting = self._in_turn(model)
        position = waiting.index(request) + 1 if request in waiting else len(waiting) + 1
        eta_ms = self._eta_ms(model, position)
        headers = [(b"x-corral-queue-position", b"%d" % position)]
        return headers if eta_ms is None else [*headers, (b"x-corral-queue-eta-ms", b"%d" % round(eta_ms))]


def in_turn(waiting: Iterable[LiveRequest]) -> list[LiveRequest]:
    """Requests that wait for the same model, the next one first. `waiting` has them in the order of arrival.

    Whoever waits for a slot comes before those who wait for the model: it has that already.
    """
    found = list(waiting)
    lines = {turn.line for request in found if (turn := request.facts.turn) is not None}
    now_ns = time.monotonic_ns()
    places: dict[Turn | None, int] = {
        turn: place for line in lines if line is not None for place, turn in enumerate(line.order(now_ns))
    }
    last = len(places)
    return sorted(
        found, key=lambda request: (request.facts.stage == "queued", places.get(request.facts.turn, last))
    )


def _keep(known: dict[str, _Number], model: str, value: _Number) -> None:
    """Keep a value as the newest; the oldest makes room."""
    known[model] = value
    if len(known) > _MAX_MODELS:
        del known[next(iter(known))]
