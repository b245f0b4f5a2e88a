"""Which plans there are for a workload, and their names: `kill@17` is the death after the 17th call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.crashplans.disk import WAYS, Disk
from tests.crashplans.recording import Call

# What happens at a call, or to the disk after it.
LIVE = ("kill", "torn", "short", "full", "error")
KINDS = (*LIVE, *WAYS)


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault of a kind at a call of a workload."""

    workload: str
    kind: str
    at: int

    def __str__(self) -> str:
        return f"{self.kind}@{self.at}"

    @property
    def command(self) -> str:
        return f"./dev crash --workload {self.workload} --plan {self}"


def live_plans(workload: str, calls: Sequence[Call]) -> Iterator[Plan]:
    """Those that are played with the real code: all calls, each with all faults that it can have."""
    for call in calls:
        if call.what == "note":
            continue
        if call.is_change:
            yield Plan(workload, "kill", call.number)
        if call.what == "write" and len(call.data) > 1:
            yield Plan(workload, "torn", call.number)
            yield Plan(workload, "short", call.number)
        if call.needs_space:
            yield Plan(workload, "full", call.number)
        yield Plan(workload, "error", call.number)


def power_plans(workload: str, disk: Disk, calls: Sequence[Call]) -> Iterator[tuple[Plan, list[str]]]:
    """Those of a power cut after each call, with what was acknowledged then; `disk` is in that state.

    Of plans with the same outcome only the first is there.
    """
    seen = set()
    noted: list[str] = []
    for call in calls:
        if call.what == "note":
            noted.append(call.other)
        disk.apply(call)
        for way in WAYS:
            key = (disk.key(way), len(noted))
            if key not in seen:
                seen.add(key)
                yield Plan(workload, way, call.number), noted
