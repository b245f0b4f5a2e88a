"""The handler of `/api/queue`: which requests use a model, which wait for one, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corral import caller
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.live import LiveRequests, Place
from corral.golang.json import encode
from corral.scheduler.spec import RunnerState


class QueueHandler:
    """A key sees its own requests, an admin's all."""

    def __init__(self, live: LiveRequests, states: Callable[[], list[RunnerState]]) -> None:
        self._live = live
        self._states = states

    async def get(self, exchange: Exchange) -> None:
        who = caller.current()
        slots = {state.name: state.slot_count for state in self._states()}
        places = [
            _fields(place)
            for place in self._live.places(slots)
            if "admin" in who.scopes or place.request.who.key_id == who.key_id
        ]
        await exchange.respond(200, encode({"queue": places}), JSON_UTF8)


def _fields(place: Place) -> dict[str, Any]:
    facts = place.request.facts
    fields = {
        "id": facts.request_id,
        "model": facts.wanted_model,
        "path": place.request.path,
        "key": place.request.who.key_id,
        "state": facts.stage,
        "position": place.position,
        "waited_ms": round(place.waited_ms, 1),
        "eta_ms": None if place.eta_ms is None else round(place.eta_ms, 1),
        "tokens": facts.piece_count,
    }
    return {name: value for name, value in fields.items() if value not in ("", None)}
