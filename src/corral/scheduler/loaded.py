"""A runner as the state machine sees it, from the decision to start it until its memory is back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from corral.runner.interface import LoadReport, RunnerSpec
from corral.scheduler.plan import FIRST, Plan, Retry
from corral.scheduler.spec import FOREVER_NS, LoadRequest


class Phase(Enum):
    """LOADING -> READY <-> CHECKING -> STOPPING -> gone. A load may also fail (gone) or be aborted."""

    LOADING = auto()
    READY = auto()
    CHECKING = auto()  # idle for long: a ping is on its way before the next lease
    STOPPING = auto()


@dataclass(slots=True)
class LoadedRunner:
    """`expires_at_ns` is set whenever the last lease ends and stays while the next ones run.

    `end_reason` is set where something else than `keep_alive` has made it end as soon as it is idle. `retry` is what
    its load gives up, `load` where the engine has put it, `fallback` why it is not all on GPUs where it could be.
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
    retry: Retry = FIRST
    load: LoadReport | None = None
    fallback: str = ""

    @property
    def spec(self) -> RunnerSpec:
        return self.plan.spec

    def bytes_on(self, device: str) -> int:
        """What it has on a device: as the engine says, else as predicted."""
        if self.load is None:
            return self.plan.split.bytes_on(device)
        return sum(part.size_bytes for part in self.load.devices if part.name == device)

    @property
    def size_bytes(self) -> int:
        """All of its memory: as the engine says, where it does.

        A model that is on devices as a whole counts as those alone, as in Ollama: what it maps of its file is not
        needed any more.
        """
        if not self.plan.is_offloaded:
            return self.plan.estimate.total_bytes
        host_bytes = self.plan.split.host_bytes if self.load is None else self.load.host_bytes
        return self.vram_bytes + (host_bytes if self.is_on_host else 0)

    @property
    def vram_bytes(self) -> int:
        """What is in the memory of devices."""
        return self.plan.vram_bytes if self.load is None else self.load.device_bytes

    @property
    def devices(self) -> str:
        """Where the model is, in a few words; empty if there is nothing but a processor."""
        if not self.spec.gpus.listed:
            return ""
        if self.load is None:
            return "+".join(share.device for share in self.plan.split.shares) or "CPU"
        names = [part.name for part in self.load.devices if part.layers != 0]
        if not self.load.is_whole or not names:
            names.append("CPU")
        return "+".join(names)

    @property
    def is_on_host(self) -> bool:
        """Whether a part of the model is in the machine's memory."""
        return self.plan.is_on_host if self.load is None else not self.load.is_whole

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
