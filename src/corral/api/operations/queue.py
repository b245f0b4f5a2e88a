"""The handlers of `/api/queue` and `/api/requests`: who uses a model, who waits for one, and the end of that."""

from __future__ import annotations

import logging
from typing import Any

from corral import caller, requestfacts
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.live import LiveRequests, Place
from corral.errors import RequestNotFoundError
from corral.golang.json import encode

_log = logging.getLogger("corral.http")


class QueueHandler:
    """A key sees and ends its own requests, an admin's all."""

    def __init__(self, live: LiveRequests) -> None:
        self._live = live

    async def get(self, exchange: Exchange) -> None:
        places = [fields_of(place) for place in self._live.places(caller.current())]
        await exchange.respond(200, encode({"queue": places}), JSON_UTF8)

    async def cancel(self, exchange: Exchange) -> None:
        """End a request: its client gets an error, and decoding stops."""
        request_id = exchange.params["id"]
        count = self._live.cancel(request_id, caller.current())
        if not count:
            raise RequestNotFoundError(requestfacts.named(request_id))
        _log.info("cancelled request=%s by=%s", request_id, exchange.request_id)
        await exchange.respond(200, encode({"cancelled": count}), JSON_UTF8)


def fields_of(place: Place) -> dict[str, Any]:
    """A request as JSON has it; members that do not apply are left out."""
    facts = place.request.facts
    fields = {
        "id": facts.request_id,
        "model": facts.wanted_model,
        "path": place.request.path,
        "key": place.request.who.key_id,
        "priority": place.request.who.priority,
        "state": facts.stage,
        "position": place.position,
        "waited_ms": round(place.waited_ms, 1),
        "eta_ms": None if place.eta_ms is None else round(place.eta_ms, 1),
        "tokens": facts.piece_count,
        "tokens_per_s": round(place.request.tokens_per_s, 1) or None,
    }
    return {name: value for name, value in fields.items() if value not in ("", None)}
