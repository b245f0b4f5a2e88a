"""Simulate: see docs/testing.md.

./dev simulate [--seeds N] [--from S] [--world NAME] [--processes N] [--trace] [--planted]
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation import patches, planted
from tests.simulation.campaign import WORLDS, Tally, kept, run_with, seeds_of
from tests.simulation.world import Outcome, simulate

_TRACE_LINES = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev simulate", description="Parts of Corral in virtual time.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (0)")
    parser.add_argument("--world", choices=["all", *WORLDS], default="all", help="one world alone (all)")
    parser.add_argument("--processes", type=int, default=1, help="at a time (1)")
    parser.add_argument(
        "--trace", action="store_true", help="print everything that happens in the first seed"
    )
    parser.add_argument("--kept", action="store_true", help="the seeds in kept.txt instead")
    parser.add_argument(
        "--planted", action="store_true", help="plant known faults, and see that each is found"
    )
    given = parser.parse_args()
    if given.planted:
        return show_planted()
    seeds = list(kept()) if given.kept else seeds_of(given.world, given.first, given.seeds)
    if given.trace:
        with patches.installed():
            outcome = simulate(WORLDS[seeds[0][0]], seeds[0][1])
        print(outcome.trace, end="")
        return outcome.violation is not None
    began_s = time.monotonic()
    tally = run_with(given.processes, seeds)
    print(summary(tally, time.monotonic() - began_s))
    for failure in tally.failures:
        print(story(failure))
    return bool(tally.failures)


def show_planted() -> int:
    """A table of the faults that can be planted, with what found each."""
    missed = 0
    print("| fault | world | seed | what found it |\n|---|---|---|---|")
    for fault, outcome in planted.table():
        missed += outcome is None
        seed, by = "-", "NOTHING"
        if outcome is not None and outcome.violation is not None:
            seed, by = str(outcome.seed), outcome.violation.invariant
        mark = " (was in Corral)" if fault.was_real else ""
        print(f"| {fault.what}{mark} | {fault.world} | {seed} | {by} |", flush=True)
    return bool(missed)


def summary(tally: Tally, wall_s: float) -> str:
    """One line about a campaign."""
    counts = ", ".join(f"{name} {count}" for name, count in sorted(tally.seeds.items()))
    total = sum(tally.seeds.values())
    return (
        f"{total} seeds ({counts}): {tally.virtual_s / 3600:.1f} hours simulated in {tally.cpu_s:.1f} s of processor "
        f"time, {total / max(wall_s, 0.001):.0f} seeds/s; {len(tally.failures)} failed"
    )


def story(outcome: Outcome) -> str:
    """What a failing seed shows, and how to see it again."""
    assert outcome.violation is not None
    name, seed, violation = outcome.world, outcome.seed, outcome.violation
    promise = WORLDS[name].invariants.get(violation.invariant, "")
    lines = outcome.trace.splitlines()
    left_out = [f"... {len(lines) - _TRACE_LINES} lines before"] if len(lines) > _TRACE_LINES else []
    return "\n".join(
        [
            "",
            f"world {name}, seed {seed}: {violation.invariant}" + (f" ({promise})" if promise else ""),
            f"    {violation.detail}",
            *left_out,
            *lines[-_TRACE_LINES:],
            f"again: ./dev simulate --world {name} --from {seed} --seeds 1 --trace",
            f"to keep it: echo '{name} {seed}  # {violation.invariant}' >> tests/simulation/kept.txt",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
