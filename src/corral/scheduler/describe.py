"""A loaded model as others see it."""

from __future__ import annotations

import time
from collections.abc import Callable

from corral.devices import Machine
from corral.runner.interface import Runner
from corral.scheduler import placement, reasons
from corral.scheduler.groups import Groups, is_pinned, names_of_groups
from corral.scheduler.loaded import LoadedRunner
from corral.scheduler.spec import LoadedInfo, RunnerState, SchedulerConfig, config_for


class Expiries:
    """When models expire, as wall-clock times: the same at every look until the next lease ends."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        # Per runner: the time on the monotonic and on the wall clock.
        self._seen: dict[int, tuple[int, int]] = {}

    def of(self, loaded: LoadedRunner) -> int:
        ends_ns = loaded.expires_at_ns
        if ends_ns is None:
            return time.time_ns() + loaded.keep_alive_ns
        seen = self._seen.get(loaded.runner_id)
        if seen is None or seen[0] != ends_ns:
            seen = self._seen[loaded.runner_id] = (ends_ns, time.time_ns() + ends_ns - self._clock_ns())
        return seen[1]

    def forget(self, runner_id: int) -> None:
        self._seen.pop(runner_id, None)


def info_of(
    loaded: LoadedRunner, runner: Runner | None, expires_at_ns: int, groups: Groups = ()
) -> LoadedInfo:
    """What `/api/ps` says. `expires_at_ns`: wall-clock time."""
    return LoadedInfo(
        name=loaded.origin.name,
        manifest_digest=loaded.origin.manifest_digest,
        weights_key=loaded.origin.weights_key,
        size_bytes=loaded.size_bytes,
        size_vram_bytes=loaded.vram_bytes,
        expires_at_ns=expires_at_ns,
        num_ctx=min(loaded.spec.num_ctx, runner.facts.num_ctx) if runner else loaded.spec.num_ctx,
        details=loaded.origin.details,
        load=loaded.load,
        fallback=loaded.fallback,
        groups=names_of_groups(loaded.origin.name, groups),
        is_pinned=is_pinned(loaded.origin.name, groups),
    )


def fallback_of(loaded: LoadedRunner, config: SchedulerConfig, machine: Machine, *, had_gpus: bool) -> str:
    """Why a model that may use GPUs is not all on them; empty if it is, or if there never were any."""
    if not placement.may_use_gpus(loaded.origin, config_for(loaded.origin, config)):
        return ""
    if not loaded.plan.is_offloaded and not machine.gpus:
        return reasons.GPUS_GONE if had_gpus else ""
    return reasons.fallback(loaded.plan, loaded.retry, loaded.load)


def state_of(loaded: LoadedRunner, runner: Runner) -> RunnerState:
    """What it does right now."""
    return RunnerState(
        loaded.origin.name,
        loaded.size_bytes,
        loaded.vram_bytes,
        runner.spec.num_parallel,
        runner.running_count,
        runner.waiting_count,
        runner.context_ratio,
    )
