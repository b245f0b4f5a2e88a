"""The handler of `/api/events`: the scheduler's decisions, as server-sent events or as a list."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from corral import caller
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.sse import EVENT_STREAM
from corral.golang.json import encode
from corral.golang.time import format_local_time
from corral.names import ModelName
from corral.scheduler.journal import Decision, Journal

# A comment after this time without an event: proxies close connections that are silent for long.
_SILENCE_S = 15.0
_KEEP_ALIVE = b": nothing new\n\n"
_MAX_ID_DIGITS = 18


class EventsHandler:
    """`get` answers with a stream that begins with the kept decisions and does not end by itself.

    A client that comes back with `Last-Event-ID`, as browsers do, gets those that it missed. One that accepts
    `application/json` gets the kept ones as a list.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def get(self, exchange: Exchange) -> None:
        number = _number(exchange.header(b"last-event-id"))
        if "application/json" in exchange.header(b"accept"):
            events = [fields_of(decision) for decision in self._visible(number)]
            await exchange.respond(200, encode({"events": events}), JSON_UTF8)
            return
        await exchange.run_watched(self._stream(exchange, number))

    async def _stream(self, exchange: Exchange, number: int) -> None:
        await exchange.start_stream(EVENT_STREAM, headers=[(b"cache-control", b"no-store")])
        with self._journal.changes() as changed:
            while True:
                changed.clear()
                if new := self._visible(number):
                    number = new[-1].number
                    await exchange.write(b"".join(map(_frame, new)))
                try:
                    async with asyncio.timeout(_SILENCE_S):
                        await changed.wait()
                except TimeoutError:
                    await exchange.write(_KEEP_ALIVE)

    def _visible(self, number: int) -> list[Decision]:
        """What a key that is bound to some models may see: its own, without reasons, which name others."""
        found, who = self._journal.since(number), caller.current()
        if who.models is None:
            return found
        mine = (decision for decision in found if who.may_use(ModelName.parse(decision.model)))
        return [replace(decision, facts=_numbers(decision)) for decision in mine]


def _numbers(decision: Decision) -> dict[str, int | float | str]:
    return {name: value for name, value in decision.facts.items() if not isinstance(value, str)}


def fields_of(decision: Decision) -> dict[str, Any]:
    """A decision as JSON has it; members that do not apply are left out."""
    known = {
        "id": decision.number,
        "at": format_local_time(decision.at_ns),
        "event": decision.kind,
        "model": decision.model,
        "cause": decision.cause,
        "request": decision.request,
        **decision.facts,
    }
    return {name: value for name, value in known.items() if value != ""}


def _frame(decision: Decision) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (decision.number, encode(fields_of(decision)))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_ID_DIGITS else 0
