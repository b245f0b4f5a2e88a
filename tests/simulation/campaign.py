"""Many seeds in one process, or in several."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.simulation import patches
from tests.simulation.cluster import ClusterWorld
from tests.simulation.limits import LimitsWorld
from tests.simulation.registry import RegistryWorld
from tests.simulation.scheduler import SchedulerWorld
from tests.simulation.world import Outcome, World, simulate

WORLDS: dict[str, type[World]] = {
    kind.name: kind for kind in (SchedulerWorld, RegistryWorld, LimitsWorld, ClusterWorld)
}
# Of all seeds of a campaign over all worlds, by what a seed costs.
SHARES = {"scheduler": 10, "registry": 8, "limits": 57, "cluster": 25}
KEPT = Path(__file__).parent / "kept.txt"
_COLLECT_EVERY = 20
_PART = 50
_MAX_FAILURES = 5


@dataclass(slots=True)
class Tally:
    """What came of many seeds."""

    seeds: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    failures: list[Outcome] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.virtual_s += other.virtual_s
        self.cpu_s += other.cpu_s
        self.failures += other.failures


def run(seeds: Sequence[tuple[str, int]]) -> Tally:
    """All of these, in this process; it ends early where several fail."""
    tally, began_s = Tally(), time.process_time()
    with patches.installed():
        gc.collect()
        gc.freeze()
        for number, (name, seed) in enumerate(seeds):
            outcome = simulate(WORLDS[name], seed)
            tally.seeds[name] += 1
            tally.virtual_s += outcome.seconds
            if outcome.violation is not None:
                tally.failures.append(outcome)
                if len(tally.failures) >= _MAX_FAILURES:
                    break
            if number % _COLLECT_EVERY == 0:
                gc.collect()
        gc.unfreeze()
    tally.cpu_s = time.process_time() - began_s
    return tally


def run_with(processes: int, seeds: Sequence[tuple[str, int]]) -> Tally:
    """All of these, in so many processes at a time."""
    if processes < 2:
        return run(seeds)
    whole = Tally()
    parts = [seeds[start : start + _PART] for start in range(0, len(seeds), _PART)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for tally in pool.map(run, parts):
            whole.add(tally)
            if len(whole.failures) >= _MAX_FAILURES:
                pool.shutdown(cancel_futures=True)
                break
    return whole


def seeds_of(world: str, first: int, count: int) -> list[tuple[str, int]]:
    """So many seeds of one world, or of all of them together (`all`), by their shares."""
    if world != "all":
        return [(world, seed) for seed in range(first, first + count)]
    total = sum(SHARES.values())
    found: list[tuple[str, int]] = []
    for name, share in SHARES.items():
        found += seeds_of(name, first, round(count * share / total))
    return found


def kept() -> Iterator[tuple[str, int]]:
    """The seeds in `kept.txt`: each has found something once."""
    for line in KEPT.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield words[0], int(words[1])
