"""How the router of a cluster does beside simpler ones, in virtual time: the same code, simulated nodes and clients.

    python -m bench.bench_cluster_simulation [--nodes 1000] [--requests 1000000] [--rate 70] [--policy NAME ...]

What is simulated, and what is not, is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from math import inf
from statistics import fmean

from bench.cluster.policies import POLICIES
from bench.cluster.simulation import Results, Setup, Simulation
from bench.cluster.trace import Load

_HEAD = (
    "| policy | warm share of prompts | wait for a slot p50, p95, p99 | first token p50, p95, p99 "
    "| imbalance | lost |\n|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument(
        "--rate", type=float, default=Load().conversations_per_s, help="conversations a second"
    )
    parser.add_argument("--models", type=int, default=Load().models)
    parser.add_argument("--apps", type=int, default=Load().apps, help="system prompts of each model")
    parser.add_argument(
        "--turns", type=float, default=Load().turns, help="questions of a conversation, on average"
    )
    parser.add_argument(
        "--system-bytes", type=int, default=Load().system_bytes, help="of a system prompt, on average"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--limit-s", type=float, default=inf, help="of each policy; what has ended by then counts"
    )
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="only these")
    given = parser.parse_args()
    load = Load(
        models=given.models,
        apps=given.apps,
        conversations_per_s=given.rate,
        turns=given.turns,
        system_bytes=given.system_bytes,
    )
    setup = Setup(given.nodes, given.requests, load, seed=given.seed)
    print(_HEAD, flush=True)
    notes = []
    for name in given.policy or POLICIES:
        begin_s = time.process_time()
        results = Simulation(setup, POLICIES[name]).run(limit_s=given.limit_s)
        print(row(name, results), flush=True)
        notes.append(f"{name}: {note(results)}; {time.process_time() - begin_s:.0f} s of processor time")
    print("", *notes, sep="\n")


def row(name: str, results: Results) -> str:
    """One line of the table."""
    queue, first = (_percentiles(sorted(times)) for times in (results.queue_s, results.first_s))
    return (
        f"| {name} | {results.hit_share:.1%} | {queue} s | {first} s | {fmean(results.imbalance or [0.0]):.2f} "
        f"| {results.lost} |"
    )


def note(results: Results) -> str:
    """What else happened."""
    whys = ", ".join(f"{why} {count}" for why, count in results.whys.most_common())
    return (
        f"{results.requests} requests in {results.seconds:.0f} virtual seconds, {results.lost_nodes} nodes lost, "
        f"{results.retried} requests sent again, {results.broken} broken off; {whys}"
    )


def _percentiles(times: list[float]) -> str:
    return ", ".join(f"{percentile(times, share):.2f}" for share in (0.5, 0.95, 0.99))


def percentile(times: list[float], share: float) -> float:
    """Of sorted times; 0 without any."""
    return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


if __name__ == "__main__":
    main()
