"""Whom to unload: an order, and which of the loaded models stand where a new one wants to go. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from corral.devices import Machine
from corral.runner.interface import RunnerSpec
from corral.scheduler.plan import Plan


class Evictable(Protocol):
    """What is looked at."""

    keep_alive_ns: int

    @property
    def spec(self) -> RunnerSpec: ...

    def bytes_on(self, device: str) -> int:
        """What it has on a device, as far as is known."""
        ...

    @property
    def is_on_host(self) -> bool:
        """Whether a part of the model is in the machine's memory."""
        ...


_T = TypeVar("_T", bound=Evictable)


def eviction_order(runners: Iterable[_T]) -> list[_T]:
    """Shortest keep-alive first, those kept forever last, ties by weights path (ollama: server/sched.go)."""
    return sorted(runners, key=lambda runner: (runner.keep_alive_ns, str(runner.spec.weights_path)))


def beside(machine: Machine, others: Iterable[Evictable]) -> Machine:
    """The machine without what others may still take for prompts: half of it, as far as is known."""
    reserved_bytes = sum(other.spec.cache_ram_mib for other in others) << 19
    return replace(machine, free_bytes=max(machine.free_bytes - reserved_bytes, 0))


def in_the_way(plan: Plan, others: Sequence[_T], *, is_retry: bool, fits: bool) -> list[_T]:
    """The runners of which one has to go before the plan is carried out; empty: it can be.

    `fits`: the plan is predicted to fit beside all of them. A further attempt (`is_retry`) leaves none where it goes.
    """
    if is_retry:
        return [other for other in others if _shares_memory(other, plan)]
    return [] if fits else victims(plan, others)


def _shares_memory(other: Evictable, plan: Plan) -> bool:
    is_on_device = any(other.bytes_on(gpu.key) for gpu in plan.gpus)
    return is_on_device or (plan.is_on_host and other.is_on_host)


def victims(plan: Plan, runners: Sequence[_T]) -> list[_T]:
    """The runners of which one has to go for the plan, in order of eviction; empty: none of them would help.

    For a model on devices: those on the card where the fewest have to go before it fits; if it fits on none, all that
    use a device. For a model in the machine's memory: all that have a part there.
    """
    order = eviction_order(runners)
    on_host = [runner for runner in order if runner.is_on_host]
    if not plan.is_offloaded:
        return on_host
    if not any(gpu.is_unified for gpu in plan.gpus) and plan.split.is_whole:
        return on_host  # all fits on devices: the machine's memory is what lacks
    return _of_one_card(plan, order) or [
        runner for runner in order if any(runner.bytes_on(device) for device, _ in plan.room)
    ]


def _of_one_card(plan: Plan, order: Sequence[_T]) -> list[_T]:
    found: list[list[_T]] = []
    for device, room in sorted(plan.room, key=lambda entry: -entry[1]) if plan.whole_bytes else ():
        needed = plan.whole_bytes - room
        going: list[_T] = []
        for runner in order:
            if needed <= 0:
                break
            if size := runner.bytes_on(device):
                going.append(runner)
                needed -= size
        if going and needed <= 0:
            found.append(going)
    return min(found, key=len, default=[])
