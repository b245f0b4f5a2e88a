"""A runner as the state machine sees it, from the decision to start it until its memory is back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from corral.runner.interface import RunnerSpec
from corral.scheduler.spec import FOREVER_NS, LoadRequest, Plan


class Phase(Enum):
    """LOADING -> READY <-> CHECKING -> STOPPING -> gone. A load may also fail (gone) or be aborted."""

    LOADING = auto()
    READY = auto()
    CHECKING = auto()  # idle for long: a ping is on its way before the next lease
    STOPPING = auto()


@dataclass(slots=True)
class LoadedRunner:
    """`expires_at_ns` is set whenever the last lease ends and stays while the next ones run.

    `end_reason` is set where something else than `keep_alive` has made it end as soon as it is idle.
    """

    runner_id: int
    origin: LoadRequest
    plan: Plan
    keep_alive_ns: int
    last_sign_ns: int  # LOADING: the last progress; idle: since when
    phase: Phase = Phase.LOADING
    lease_count: int = 0
    expires_at_ns: int | None = None
    load_share: float = 0.0
    end_reason: str = ""

    @property
    def spec(self) -> RunnerSpec:
        return self.plan.spec

    @property
    def is_idle(self) -> bool:
        """Whether it may be stopped right now."""
        return self.phase is Phase.READY and self.lease_count == 0

    def deadline_ns(self, load_timeout_ns: int) -> int | None:
        """When time alone will change something: the load stalls, or the idle runner expires."""
        if self.phase is Phase.LOADING:
            return self.last_sign_ns + load_timeout_ns if load_timeout_ns > 0 else None
        if self.is_idle and self.keep_alive_ns < FOREVER_NS:
            return self.expires_at_ns
        return None


def clamp_keep_alive(keep_alive_ns: int) -> int:
    """Negative means forever; so does anything longer than that."""
    return FOREVER_NS if keep_alive_ns < 0 else min(keep_alive_ns, FOREVER_NS)
