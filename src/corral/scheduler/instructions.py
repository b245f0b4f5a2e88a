"""What the state machine wants done. The loop carries out each exactly once, in order.

Whatever starts, stops or delays something says why: `reason` is for the log and is never empty. `ticket`, where there
is one, is the request for which it happens.
"""

from __future__ import annotations

from dataclasses import dataclass

from corral.errors import CorralError
from corral.runner.interface import RunnerSpec


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Start a child. Answered by `LoadSucceeded` or `LoadFailed`. `predicted_bytes`: its whole memory."""

    runner_id: int
    spec: RunnerSpec
    reason: str
    ticket: int
    predicted_bytes: int


@dataclass(frozen=True, slots=True)
class AbortLoad:
    """Kill the child that is starting. Answered by `RunnerStopped`, also if it became ready meanwhile."""

    runner_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class StopRunner:
    """Kill and reap a child. Answered by `RunnerStopped`."""

    runner_id: int
    reason: str
    ticket: int | None = None


@dataclass(frozen=True, slots=True)
class PingRunner:
    """Ping an idle child. Answered by `PingAnswered`."""

    runner_id: int


@dataclass(frozen=True, slots=True)
class ReadMemory:
    """Measure the machine now. Answered by `MemoryReported`."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The ticket's lease has begun."""

    ticket: int
    runner_id: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The ticket gets no runner; the error says why."""

    ticket: int
    error: CorralError


@dataclass(frozen=True, slots=True)
class Explain:
    """Nothing to do: what the ticket waits for now, whenever that has changed."""

    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `TimerFired` at this time; an earlier wake-up that is still due may be dropped or kept."""

    at_ns: int


Instruction = StartLoad | AbortLoad | StopRunner | PingRunner | ReadMemory | Grant | Refuse | Explain | WakeAt
