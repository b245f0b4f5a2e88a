"""Play pulls against a registry full of faults, one for each seed, and say which promises were broken.

python -m scripts.play_fault_plans [--first 0] [--count 200] [--faults 12]
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.registry.fault_plans import play


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--faults", type=int, default=12)
    arguments = parser.parse_args()
    broken = pulls = kills = complete = errors = kept_bytes = 0
    for seed in range(arguments.first, arguments.first + arguments.count):
        started_s = time.monotonic()
        outcome = play(seed, faults=arguments.faults)
        pulls, kills = pulls + outcome.pulls, kills + outcome.kills
        complete, errors = complete + outcome.is_complete, errors + len(outcome.errors)
        broken += bool(outcome.problems)
        kept_bytes += outcome.kept_bytes
        print(
            f"seed {seed}: {'complete' if outcome.is_complete else 'refused'} pulls={outcome.pulls} "
            f"kills={outcome.kills} errors={len(outcome.errors)} asked={outcome.blob_bytes_asked / 2**20:.1f} MiB "
            f"seconds={time.monotonic() - started_s:.1f}",
            *outcome.problems,
            sep="\n    " if outcome.problems else " ",
            flush=True,
        )
    print(
        f"{arguments.count} plans: {complete} complete, {broken} broken; "
        f"{pulls} pulls, {kills} kills, {errors} errors, {kept_bytes / 2**20:.0f} MiB kept over kills"
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
