"""What the scheduler decided and why: a line of the log each, and the last of them to look at and to follow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from corral.scheduler.reasons import size

_log = logging.getLogger("corral.scheduler")
_KEPT = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """`number` counts from 1; `at_ns` is wall-clock time.

    `kind` is `loading`, `loaded`, `load failed`, `load aborted`, `unloaded`, `runner ended`, `queued`, `waiting`,
    `refused` and the like: a fixed set of words. `cause` sorts reasons into a few (see `reasons.cause_of`). `facts`
    are what else the line of the log says: numbers and short texts, sizes in bytes, times in seconds. `request` is
    the id of the request for which it happened, if there is one.
    """

    number: int
    at_ns: int
    kind: str
    model: str
    cause: str = ""
    request: str = ""
    facts: Mapping[str, int | float | str] = field(default_factory=dict)


class Journal:
    """The last decisions. Belongs to the event loop.

    `watch` gets every decision as soon as it is made, and must not take long.
    """

    def __init__(
        self,
        watch: Callable[[Decision], None] = lambda _decision: None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._watch = watch
        self._clock_ns = clock_ns
        self._count = 0
        self._kept: deque[Decision] = deque(maxlen=_KEPT)
        self._followers: set[asyncio.Event] = set()

    def note(
        self,
        kind: str,
        model: str,
        facts: Mapping[str, int | float | str],
        *,
        level: int = logging.INFO,
        cause: str = "",
        request: str = "",
    ) -> None:
        """Keep a decision, and log it at a level (0: not at all). The words of the line have the order of `facts`."""
        self._count += 1
        decision = Decision(self._count, self._clock_ns(), kind, model, cause, request, facts)
        self._kept.append(decision)
        if level and _log.isEnabledFor(level):
            fields = {"model": model, "cause": cause, "request": request, **facts}
            _log.log(level, "%s", line_of(decision), extra={"fields": fields})
        self._watch(decision)
        for follower in self._followers:
            follower.set()

    def since(self, number: int = 0) -> list[Decision]:
        """The kept decisions after the one with this number, oldest first."""
        return [decision for decision in self._kept if decision.number > number]

    @contextlib.contextmanager
    def changes(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever a decision was made; whoever waits for it clears it."""
        changed = asyncio.Event()
        self._followers.add(changed)
        try:
            yield changed
        finally:
            self._followers.discard(changed)


def line_of(decision: Decision) -> str:
    """A decision as a line of the log."""
    words = "".join(f" {_word(name, value)}" for name, value in decision.facts.items())
    request = f" request={decision.request}" if decision.request else ""
    return f"{decision.kind} model={decision.model}{words}{request}"


def _word(name: str, value: int | float | str) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f'{name.removesuffix("_bytes")}="{size(value)}"'
    if isinstance(value, float):
        return f"{name}={value:.2f}"
    # An error is what the engine said, which may hold quotes: it is the last word of a line.
    return f"{name}={value}" if isinstance(value, int) or name == "error" else f'{name}="{value}"'
