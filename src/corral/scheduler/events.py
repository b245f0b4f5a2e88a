"""What can happen to the scheduler. Times are monotonic nanoseconds and are passed beside an event, not in it."""

from __future__ import annotations

from dataclasses import dataclass

from corral.devices import Machine
from corral.errors import CorralError
from corral.priorities import DEFAULT_PRIORITY, Priority
from corral.runner.interface import LoadReport, RunnerSpec
from corral.scheduler.spec import LoadRequest, SchedulerConfig


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A request wants a runner. `keep_alive_ns` None: it does not say; negative: forever.

    `priority` and `share` decide its place where others wait (see `corral.line`).
    """

    ticket: int
    request: LoadRequest
    keep_alive_ns: int | None = None
    priority: Priority = DEFAULT_PRIORITY
    share: str = ""


@dataclass(frozen=True, slots=True)
class RequestCanceled:
    """The caller left. Harmless at any time: a lease that it got meanwhile ends with it."""

    ticket: int


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    ticket: int


@dataclass(frozen=True, slots=True)
class LoadProgressed:
    """The starting child showed a sign of life; `share` is -1 when it did not report how far it is."""

    runner_id: int
    share: float


@dataclass(frozen=True, slots=True)
class LoadSucceeded:
    """`spec` is how the child was started in the end, where that is not as planned; `load` where the engine has put
    the model, if it says so.
    """

    runner_id: int
    spec: RunnerSpec | None = None
    load: LoadReport | None = None


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The child of a `StartLoad` is gone without ever having been ready."""

    runner_id: int
    error: CorralError
    is_out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class RunnerExited:
    """A ready child died or was killed as hung."""

    runner_id: int
    is_out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class RunnerStopped:
    """The answer to `StopRunner` and `AbortLoad`: the child is reaped and its memory is back."""

    runner_id: int


@dataclass(frozen=True, slots=True)
class PingAnswered:
    runner_id: int
    is_healthy: bool


@dataclass(frozen=True, slots=True)
class UnloadRequested:
    """Unload the model with these weights as soon as it is idle."""

    weights_key: str


@dataclass(frozen=True, slots=True)
class MemoryReported:
    """The answer to `ReadMemory`."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """Other settings hold from now on. Runners that were started stay as they are."""

    config: SchedulerConfig


@dataclass(frozen=True, slots=True)
class MachineResumed:
    """The machine was suspended: what GPUs held may be lost."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the last `WakeAt` has come (or nearly: firing early or twice is harmless)."""


Event = (
    RequestArrived
    | RequestCanceled
    | LeaseEnded
    | LoadProgressed
    | LoadSucceeded
    | LoadFailed
    | RunnerExited
    | RunnerStopped
    | PingAnswered
    | UnloadRequested
    | MemoryReported
    | ConfigChanged
    | MachineResumed
    | TimerFired
)
