"""What the state machine tells the loop to do. Each is carried out exactly once, in order."""

from __future__ import annotations

from dataclasses import dataclass

from corral.errors import CorralError
from corral.runner.interface import RunnerSpec


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Start a child. Answered by `LoadSucceeded` or `LoadFailed`."""

    runner_id: int
    spec: RunnerSpec


@dataclass(frozen=True, slots=True)
class AbortLoad:
    """Kill the child that is starting. Answered by `RunnerStopped`, also if it got ready meanwhile."""

    runner_id: int


@dataclass(frozen=True, slots=True)
class StopRunner:
    """Kill and reap a child. Answered by `RunnerStopped`."""

    runner_id: int


@dataclass(frozen=True, slots=True)
class PingRunner:
    """Ask an idle child for a sign of life. Answered by `PingAnswered`."""

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
    ticket: int
    error: CorralError


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `TimerFired` at this time; an earlier wish that is still open may be dropped or kept."""

    now_ns: int


Instruction = StartLoad | AbortLoad | StopRunner | PingRunner | ReadMemory | Grant | Refuse | WakeAt
