"""Plays plans: each in a process of its own, forked from this one, which has everything imported.

A process prepares the folder, does the steps with the fault, and dies or ends. Another one is the next start: it must
be whole, with everything acknowledged. Then the steps that were not done are done, and all must be there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from corral.errors import CorralError
from tests.crashplans.disk import Disk
from tests.crashplans.library import Faults
from tests.crashplans.plans import LIVE, Plan, live_plans, power_plans
from tests.crashplans.recording import Call, read_calls
from tests.crashplans.workload import Workload

# Only ends hangs.
_DEADLINE_S = 120
# With what a program reports a fault of the disk.
_ERRORS = (OSError, CorralError, sqlite3.Error)


@dataclass(slots=True)
class Run:
    """What came of the steps: the answers, and what else the process said before it ended."""

    answers: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class Player:
    """Plays the plans of workloads in a folder of its own."""

    def __init__(self, faults: Faults, scratch: Path) -> None:
        self._faults = faults
        self._root = (scratch / "root").resolve()
        self._log = scratch / "log"

    def record(self, workload: Workload) -> tuple[Disk, list[Call]]:
        """The disk before, and the calls of a run without faults."""
        self._clear()
        for line in _forked(lambda say: workload.prepare(self._root)):
            raise AssertionError(f"{workload.name} cannot be prepared: {line}")
        disk = Disk(self._root)
        with self._log.open("wb") as log:
            run = self._run(workload, "record", 0, log.fileno())
        missing = [step.name for step in workload.steps if step.name not in run.answers]
        assert not missing and not run.lines, (workload.name, missing, run.lines)
        return disk, list(read_calls(self._log.read_bytes()))

    def plays(self, workload: Workload, wanted: Callable[[Plan], bool]) -> Iterator[tuple[Plan, list[str]]]:
        """Each wanted plan, and what was wrong with it."""
        disk, calls = self.record(workload)
        for plan in live_plans(workload.name, calls):
            if wanted(plan):
                yield plan, self.play_live(workload, plan)
        for plan, noted in power_plans(workload.name, disk, calls):
            if wanted(plan):
                answers = dict(json.loads(text) for text in noted)
                yield plan, self._play_power(workload, plan, disk, answers)

    def play_live(self, workload: Workload, plan: Plan) -> list[str]:
        """What is wrong after a plan of a fault at a call."""
        assert plan.kind in LIVE
        self._clear()
        run = self._run(workload, plan.kind, plan.at, prepares=True)
        return [*run.lines, *self._next_start(workload, run.answers)]

    def _play_power(
        self, workload: Workload, plan: Plan, disk: Disk, answers: Mapping[str, Any]
    ) -> list[str]:
        self._clear(make=False)
        disk.write_out(plan.kind, self._root)
        known = answers if workload.keeps_power else {}
        return self._next_start(workload, known, is_known=workload.keeps_power, after_power=True)

    def _clear(self, *, make: bool = True) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        if make:
            self._root.mkdir()

    def _run(self, workload: Workload, kind: str, at: int, log: int = -1, *, prepares: bool = False) -> Run:
        def work(say: Callable[[str], None]) -> None:
            if prepares:
                workload.prepare(self._root)
            self._faults.arm(self._root, kind, at, log)
            for step in workload.steps:
                try:
                    answer = json.dumps([step.name, step.do(self._root)])
                except _ERRORS:
                    return  # reported: nothing was acknowledged
                self._faults.note(answer)
                say(f"answer {answer}")

        run = Run()
        for line in _forked(work):
            if line.startswith("answer "):
                name, value = json.loads(line.removeprefix("answer "))
                run.answers[name] = value
            elif line != f"killed by signal {signal.SIGKILL}" or kind not in ("kill", "torn"):
                run.lines.append(line)
        return run

    def _next_start(
        self,
        workload: Workload,
        answers: Mapping[str, Any],
        *,
        is_known: bool = True,
        after_power: bool = False,
    ) -> list[str]:
        def work(say: Callable[[str], None]) -> None:
            if after_power:
                workload.after_power()
            workload.start(self._root)
            left = [step for step in workload.steps if step.name not in answers]
            doubtful = left[0].name if left else ""
            if is_known:
                _say_all(say, "after the start", workload.verify(self._root, answers, doubtful))
            known = dict(answers)
            for step in left:
                known[step.name] = step.do(self._root)
            if left:
                workload.start(self._root)
                _say_all(say, "after another start", workload.verify(self._root, known, ""))

        return _forked(work)


def _say_all(say: Callable[[str], None], when: str, problems: Iterator[str]) -> None:
    for problem in problems:
        say(f"{when}: {problem}")


def _forked(work: Callable[[Callable[[str], None]], None]) -> list[str]:
    """Run something in a process of its own; the lines that it said, and how it ended if not well."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(work, writer)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as pipe:
        lines = pipe.read().splitlines()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        lines.append(f"killed by signal {os.WTERMSIG(status)}")
    return lines


def _work(work: Callable[[Callable[[str], None]], None], writer: int) -> NoReturn:
    def say(text: str) -> None:
        os.write(writer, f"{' | '.join(text.splitlines())}\n".encode())

    signal.alarm(_DEADLINE_S)
    try:
        work(say)
    except BaseException:
        say(traceback.format_exc())
    finally:
        os._exit(0)
