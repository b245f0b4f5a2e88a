"""Finds tests that fail at times: the tests in random orders, several times, on a machine that is kept busy.

`./dev flakes [--repeat N] [PATHS]` prints a table of all that failed, and what each round differed in: the order, the
hash seed, the time zone, the width of the terminal, the umask. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_ZONES = ("UTC", "America/St_Johns", "Pacific/Kiritimati", "Asia/Kathmandu")
_WIDTHS = ("80", "40", "200")
_UMASKS = (0o022, 0o077, 0o002)
_HOG = "while True: pass"


@dataclass(frozen=True, slots=True)
class Round:
    """What one run differs in from the others. All of it follows from the seed."""

    seed: int

    @property
    def umask(self) -> int:
        return _UMASKS[self.seed % len(_UMASKS)]

    @property
    def env(self) -> dict[str, str]:
        return {
            "PYTHONHASHSEED": str(self.seed % 2**32),
            "TZ": _ZONES[self.seed % len(_ZONES)],
            "COLUMNS": _WIDTHS[self.seed // 7 % len(_WIDTHS)],
        }

    def words(self, arguments: Sequence[str]) -> list[str]:
        """The arguments of pytest."""
        return ["-p", "randomly", f"--randomly-seed={self.seed}", "-q", *arguments]

    def command(self, arguments: Sequence[str]) -> str:
        """The same as one line of a shell."""
        env = " ".join(f"{name}={value}" for name, value in self.env.items())
        words = shlex.join(self.words(arguments))
        return f"(umask {self.umask:03o}; {env} .venv/bin/python -m pytest {words})"


@dataclass(frozen=True, slots=True)
class Failure:
    """One test in one round."""

    test: str
    seed: int
    reason: str


def failures_in(report: str, seed: int) -> Iterator[Failure]:
    """What failed, of a report in JUnit's XML as pytest writes it (`junit_family=xunit1`)."""
    for case in ET.fromstring(report).iter("testcase"):
        for kind in ("failure", "error"):
            for found in case.findall(kind):
                test = f"{case.get('file') or case.get('classname')}::{case.get('name')}"
                yield Failure(test, seed, (found.get("message") or kind).splitlines()[0])


def table(failures: Iterable[Failure], rounds: int) -> list[str]:
    """A line for each test that failed, the most frequent first, with the seeds and one reason below it."""
    by_test: dict[str, list[Failure]] = {}
    for failure in failures:
        by_test.setdefault(failure.test, []).append(failure)
    lines = []
    for test, found in sorted(by_test.items(), key=lambda item: (-len(item[1]), item[0])):
        seeds = sorted({failure.seed for failure in found})
        lines.append(f"{len(seeds)} of {rounds}  {test}")
        lines.append(f"    seeds {', '.join(map(str, seeds))}: {found[0].reason}")
    return lines


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes compute without a pause."""
    running = [subprocess.Popen([sys.executable, "-c", _HOG]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def play(this: Round, arguments: Sequence[str], folder: Path) -> list[Failure]:
    """Run the tests once. A run that ends before its report is a failure too."""
    report, log = folder / f"{this.seed}.xml", folder / f"{this.seed}.log"
    words = [*this.words(arguments), f"--junitxml={report}", "-o", "junit_family=xunit1"]
    with log.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=ROOT,
            env={**os.environ, **this.env},
            stdout=out,
            stderr=subprocess.STDOUT,
            umask=this.umask,
            check=False,
        )
    found = list(failures_in(report.read_text(), this.seed)) if report.exists() else []
    if done.returncode and not found:
        found = [Failure("the run itself", this.seed, f"status {done.returncode}, see {log}")]
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Play all rounds. What is not an option here goes to pytest."""
    parser = argparse.ArgumentParser(prog="./dev flakes", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds; 3 by default")
    parser.add_argument("--seed", type=int, help="of the first round; the others count on from it")
    parser.add_argument(
        "--hogs", type=int, default=2, help="processes that keep the machine busy; 2 by default"
    )
    parser.add_argument("--folder", type=Path, help="where logs and reports go; a new one by default")
    chosen, arguments = parser.parse_known_args(words)
    first = random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="corral-flakes-"))
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    with hogs(chosen.hogs):
        for number in range(chosen.repeat):
            this = Round(first + number)
            began_s = time.monotonic()
            found = play(this, arguments, folder)
            failures += found
            print(
                f"round {number + 1} of {chosen.repeat}, {time.monotonic() - began_s:.0f} s, {len(found)} failed: "
                f"{this.command(arguments)}",
                flush=True,
            )
    for line in table(failures, chosen.repeat):
        print(line)
    print(f"{len({f.test for f in failures})} tests failed in {chosen.repeat} rounds; logs are in {folder}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
