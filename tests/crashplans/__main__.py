"""Plays crash plans: all, those of a workload, one, or a slice of all.

./dev crash [--workload NAME] [--plan KIND@CALL] [--slice I/N] [--jobs N] [--list]
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.crashplans.library import Faults, build, environment, why_not
from tests.crashplans.plans import KINDS, Plan
from tests.crashplans.play import Player

_READY = "CORRAL_CRASH_READY"


def main() -> None:
    arguments = _parse()
    if reason := why_not():
        sys.exit(f"crash plans cannot be played here: {reason}")
    with tempfile.TemporaryDirectory(prefix="corral-crash-", dir=_fast_folder()) as name:
        if os.environ.get(_READY) != "1":
            # Again, with the library before libc.
            command = [sys.executable, "-m", "tests.crashplans", *sys.argv[1:]]
            child = os.spawnve(
                os.P_WAIT, sys.executable, command, {**environment(build(Path(name))), _READY: "1"}
            )
            sys.exit(child)
        sys.exit(_play_all(arguments, Path(name)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev crash")
    parser.add_argument("--workload", action="append", help="one workload; may be repeated")
    parser.add_argument("--plan", help="one plan, such as kill@17")
    parser.add_argument("--slice", default="0/1", help="every Nth plan, from number I: I/N")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--planted", action="store_true", help="put faults into the code: each must be found")
    parser.add_argument("--list", action="store_true", help="print the calls of each workload, play nothing")
    return parser.parse_args()


def _fast_folder() -> str | None:
    """In memory: what a disk would lose is computed (disk.py), and nothing has to wait for one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _play_all(arguments: argparse.Namespace, scratch: Path) -> int:
    from tests.crashplans.workloads import all_workloads
    from tests.crashplans.workloads.models_folder import foreign

    logging.getLogger("corral").addHandler(logging.NullHandler())
    logging.getLogger("corral").propagate = False
    workloads = all_workloads()
    foreign()
    # The forks of this process share its memory, and end before there is anything to collect.
    gc.disable()
    gc.freeze()
    names = arguments.workload or list(workloads)
    if unknown := [name for name in names if name not in workloads]:
        sys.exit(f"unknown workload {unknown[0]!r}; there are: {', '.join(workloads)}")
    if arguments.list:
        _show_calls([workloads[name] for name in names], scratch)
        return 0
    if arguments.planted:
        return _play_planted(scratch)
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    broken = 0
    for plan, problems in _play_in_parallel(arguments, names, scratch):
        counts[plan.workload][plan.kind] += 1
        if problems:
            broken += 1
            print(f"{plan.command}\n    " + "\n    ".join(problems), flush=True)
    _report(counts, broken)
    return 1 if broken or not sum(map(Counter.total, counts.values())) else 0


def _play_in_parallel(
    arguments: argparse.Namespace, names: Sequence[str], scratch: Path
) -> Iterator[tuple[Plan, list[str]]]:
    """Several players, each with every so-many-th plan."""
    jobs = 1 if arguments.plan else max(arguments.jobs, 1)
    first, of = map(int, arguments.slice.split("/"))
    readers = []
    for job in range(jobs):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            status = 1
            try:
                folder = scratch / str(job)
                folder.mkdir()
                with os.fdopen(writer, "w") as out:
                    for found in _play(names, folder, arguments.plan, first + of * job, of * jobs):
                        out.write(json.dumps(found) + "\n")
                        out.flush()
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        readers.append(reader)
    for reader in readers:
        with os.fdopen(reader) as lines:
            for line in lines:
                workload, kind, at, problems = json.loads(line)
                yield Plan(workload, kind, at), problems
    for _ in range(jobs):
        if os.wait()[1]:
            sys.exit("a player of plans has failed")


def _play(names: Sequence[str], scratch: Path, only: str | None, first: int, step: int) -> Iterator[Any]:
    from tests.crashplans.workloads import all_workloads

    player = Player(Faults(), scratch)
    number = -1

    def is_wanted(plan: Plan) -> bool:
        nonlocal number
        number += 1
        return str(plan) == only if only else number % step == first

    for name in names:
        for plan, problems in player.plays(all_workloads()[name], is_wanted):
            yield plan.workload, plan.kind, plan.at, problems


def _play_planted(scratch: Path) -> int:
    """Each planted fault in a process of its own, until a plan finds it."""
    from tests.crashplans.planted import PLANTED

    missed = 0
    for number, (name, planted) in enumerate(PLANTED.items()):
        if (child := os.fork()) == 0:
            try:
                os._exit(0 if _finds(name, planted, scratch / f"planted-{number}") else 1)
            finally:
                os._exit(1)
        missed += bool(os.waitpid(child, 0)[1])
    print(f"{len(PLANTED)} planted, {missed} not found")
    return 1 if missed else 0


def _finds(name: str, planted: Any, folder: Path) -> bool:
    from tests.crashplans.workloads import all_workloads

    planted.plant()
    folder.mkdir()
    count = 0
    workload = all_workloads()[planted.workload]
    for plan, problems in Player(Faults(), folder).plays(workload, lambda plan: plan.kind in planted.kinds):
        count += 1
        if problems:
            print(f"{name}: found by plan {count} of {planted.workload}, {plan}: {problems[0]}", flush=True)
            return True
    print(f"{name}: NOT FOUND by {count} plans of {planted.workload}", flush=True)
    return False


def _show_calls(workloads: Sequence[Any], scratch: Path) -> None:
    for workload in workloads:
        _, calls = Player(Faults(), scratch).record(workload)
        print(workload.name)
        for call in calls:
            print(f"  {call.number:4} {'' if call.is_change or call.what == 'note' else '(nothing) '}{call}")


def _report(counts: dict[str, Counter[str]], broken: int) -> None:
    widths = [max(len(name) for name in (*counts, "all")), *(max(len(kind), 6) for kind in (*KINDS, "all"))]

    def row(*cells: object) -> None:
        print("  ".join(str(cell).rjust(width) for cell, width in zip(cells, widths, strict=True)))

    row("", *KINDS, "all")
    total: Counter[str] = Counter()
    for name, count in counts.items():
        row(name, *(count[kind] for kind in KINDS), count.total())
        total += count
    row("all", *(total[kind] for kind in KINDS), total.total())
    print(f"{total.total()} plans, {broken} broken")


if __name__ == "__main__":
    main()
