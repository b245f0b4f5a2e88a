"""What is noted of a request that is traced: times of its phases, and facts for its spans. Others note nothing.

A request is traced if CORRAL_TRACES is on and its trace is sampled. Times are those of `time.perf_counter_ns`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

Value = str | bool | int | float | tuple[str, ...]
# A request may run the engine any number of times; the first ones tell the story.
_MAX_PHASES = 64


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered. `route`: its path in the table of routes; `reason`: the class of an error."""

    scheme: str
    method: str
    path: str
    route: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Phase:
    """`name` is `queue`, `load`, `render`, `prefill` or `decode`."""

    name: str
    began_ns: int
    ended_ns: int
    facts: Mapping[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class TraceNotes:
    """`facts` are attributes of the request's span, by their names in OpenTelemetry's conventions."""

    phases: list[Phase] = field(default_factory=list)
    facts: dict[str, Value] = field(default_factory=dict)

    def add(self, name: str, began_ns: int, ended_ns: int, facts: Mapping[str, Value] | None = None) -> None:
        if len(self.phases) < _MAX_PHASES and ended_ns > began_ns:
            self.phases.append(Phase(name, began_ns, ended_ns, facts or {}))


_current: ContextVar[TraceNotes | None] = ContextVar("trace_notes", default=None)
# Headers that tell the next server of the trace.
_outgoing: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("trace_headers", default=())


def begin(notes: TraceNotes | None, outgoing: tuple[tuple[str, str], ...]) -> None:
    """Begin the trace of the request that this task works for; without `notes` only its headers go on."""
    _current.set(notes)
    _outgoing.set(outgoing)


def current() -> TraceNotes | None:
    """The notes of the request that this task works for; None: it is not traced."""
    return _current.get()


def outgoing_headers() -> dict[str, str]:
    """Headers for requests to other servers that this request causes; mostly none."""
    return dict(_outgoing.get())


def note_wait(began_ns: int, load_ns: int, since_load_ns: int) -> None:
    """Note how a request waited for its model: for others first, then for its load, which ended a while ago."""
    if (notes := _current.get()) is None:
        return
    now_ns = time.perf_counter_ns()
    loaded_ns = now_ns - since_load_ns if load_ns else now_ns
    notes.add("queue", began_ns, loaded_ns - load_ns)
    notes.add("load", loaded_ns - load_ns, loaded_ns)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Note how long a block takes, if the request is traced."""
    notes = _current.get()
    if notes is None:
        yield
        return
    began_ns = time.perf_counter_ns()
    try:
        yield
    finally:
        notes.add(name, began_ns, time.perf_counter_ns())
