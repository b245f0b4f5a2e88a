"""A mixed load for an hour: do memory, descriptors and threads stay flat, and does everybody count the same?

    python -m bench.bench_soak [--minutes 60] [--warm-minutes 10] [--rate 10] [--clients 6] [--seed 1]

A server of its own on loopback, with small models of the tests, API keys, and requests of every kind on every API:
whole and streamed, embeddings, decisions, errors, unknown models, clients that leave in the middle, models that are
unloaded. Every request has an id. At the end the sums of the clients, of the server's log, of the usage ledger and of
the metrics are compared; they must be equal, whatever else the machine does. The status is 1 if they are not.

What the server keeps on purpose has bounds, and the time that counts begins when all of it is full:

- the last 500 decisions of the scheduler: the warm-up unloads models often, until `/api/events` has counted them;
- the last 200 requests, and the last 128 prompts of an engine: by the number of requests;
- names of models that were asked for (4,096 in each cache): that many unknown ones are sent first;
- responses of `/v1/responses` that no client asked to store (64 MiB by default, for an hour): here it is 64 KiB
  (`CORRAL_RESPONSES_MAX_BYTES`), and a response has more than a kilobyte;
- prompts that no slot of an engine holds (64 MiB and more by default): here `CORRAL_CACHE_RAM` is 4 MiB, which 220
  conversations of this load fill;
- and what the memory allocators keep for the busiest moment so far, in an arena for each thread: all clients send the
  largest request of the same kind at once, twenty times each kind, and then for ten minutes at least as fast as they
  are answered, which is more than in the time that counts.

Then memory and threads of the server, of each engine that lives all the time, and of those that come and go are
looked at every five seconds. The median of the first tenth of the looks and that of the last may be 2 % apart.
Descriptors depend on what happens at the moment, so they are counted twice while no request runs, before and after,
with every model loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.soak.load import Load
from bench.soak.processes import Change, changes, file_changes, most_processes
from bench.soak.run import Run
from bench.soak.server import Server
from bench.soak.sums import FIGURES, compare_clients, file_sums, ledger_sums, metric_sums, sums_of_log

# How far apart the beginning and the end may be.
_FLAT = 0.02


def report(run: Run, server: Server, arguments: argparse.Namespace) -> None:
    """Compare, and print."""
    compare_clients(run)
    logged, ledger = sums_of_log(run), ledger_sums(server, run)
    metrics = metric_sums(server.ask("/metrics").decode())
    if logged != ledger:
        run.wrong.append(f"log and ledger differ:\n  {dict(logged)}\n  {ledger}")
    total: Counter[str] = sum(ledger.values(), Counter())
    for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "cancelled"):
        if metrics[name] != total[name]:
            run.wrong.append(f"{name}: metrics {metrics[name]}, ledger {total[name]}")
    for surface in {surface for _, surface in ledger}:
        count = sum(sums["requests"] for (_, name), sums in ledger.items() if name == surface)
        if metrics[f"requests {surface}"] != count:
            run.wrong.append(
                f"requests of {surface}: metrics {metrics[f'requests {surface}']}, ledger {count}"
            )
    status = server.stop()
    if (found := file_sums(server.folder / ".corral" / "usage.sqlite3")) != ledger:
        run.wrong.append(f"the file has {found}, not {ledger}")
    print(f"{arguments.minutes:g} minutes, {len(run.seen)} requests, server ended with {status}")
    print("  " + ", ".join(f"{name} {total[name]}" for name in FIGURES))
    left = [seen for seen in run.seen.values() if seen.counts is None]
    print(f"  {len(left)} clients left, after {sum(seen.lines for seen in left)} pieces that they read")
    first, second = most_processes(run.looks) if run.looks else (0, 0)
    print(f"  processes at a time: at most {first}, later {second}")
    if second > first + 1:  # a look may catch one that ends beside the one that takes its place
        run.wrong.append(f"processes became more: {first} -> {second}")
    flat = [*changes(run.looks, server.process.pid), *file_changes(*run.quiet)] if run.looks else []
    for change in flat:
        _check_flat(change, run)
    for line, count in run.other_lines.most_common(10):
        print(f"  log {count}x {line}")


def _check_flat(change: Change, run: Run) -> None:
    print(f"  {change}")
    if abs(change.share) > _FLAT:
        run.wrong.append(f"not flat: {change}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-minutes", type=float, default=10, help="the least before the time counts")
    parser.add_argument("--rate", type=float, default=10, help="requests a second")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run = Run()
    signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(run, "is_over", True))
    with tempfile.TemporaryDirectory(prefix="corral-soak-") as folder:
        server = Server(Path(folder), run)
        try:
            asyncio.run(Load(server, run, arguments).go())
            report(run, server, arguments)
        finally:
            server.process.kill()
    for line in run.wrong[:20]:
        print(f"WRONG {line}")
    print("everybody counts the same" if not run.wrong else f"{len(run.wrong)} problems")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
