"""Runs the tests of a module once, then for each change in a fork of this process, which has everything loaded."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import coverage
import pytest

from scripts.mutation.patching import put
from scripts.mutation.sites import Mutant, mutants

# Processor time, beside ten times what the tests take: a change may make an endless loop.
_CPU_S = 10
_LOOK_S = 0.2
# A child that sleeps for so many looks, and computes nothing, waits for something that will not come.
_SILENT_LOOKS = 100
# Of Hypothesis: the same few examples each time.
PROFILE = "mutation"


@dataclass(slots=True)
class Player:
    """A plugin of pytest for the tests of one module. `only`: a part of the keys of the mutants that are played."""

    source: Path
    only: str = ""
    killed: list[Mutant] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    problem: str = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        """Not before: pytest wants to load Hypothesis itself."""
        from hypothesis import settings

        settings.register_profile(PROFILE, database=None, derandomize=True, deadline=None, max_examples=20)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        costs, tests_of_line = self._play_unchanged(session)
        if session.testsfailed or not session.items:
            self.problem = "the tests fail without any change" if session.items else "there are no tests"
            return True
        ordered = sorted(session.items, key=lambda item: costs[item.nodeid])
        for mutant in mutants(self.source.read_text()):
            if self.only in mutant.key:
                tests = _tests_for(mutant, ordered, tests_of_line)
                limit_s = int(10 * sum(costs[item.nodeid] for item in tests)) + _CPU_S
                is_killed = bool(tests) and self._is_noticed(session, mutant, tests, limit_s)
                (self.killed if is_killed else self.survived).append(mutant)
                print("." if is_killed else "S", end="", flush=True)
        print()
        return True

    def _play_unchanged(self, session: pytest.Session) -> tuple[dict[str, float], dict[int, list[str]]]:
        """What each test costs, in seconds of processor time, and which tests run through a line."""
        measured = coverage.Coverage(data_file=None, include=[str(self.source)])
        costs: dict[str, float] = {}
        measured.start()
        for item, following in _pairs(session.items):
            measured.switch_context(item.nodeid)
            began_s = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            costs[item.nodeid] = time.process_time() - began_s
        measured.stop()
        return costs, measured.get_data().contexts_by_lineno(str(self.source))

    def _is_noticed(
        self, session: pytest.Session, mutant: Mutant, tests: Sequence[pytest.Item], limit_s: int
    ) -> bool:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            status = 1
            try:
                _be_silent(session)
                resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
                module = sys.modules[_name_of(self.source)]
                put(module, mutant.tree, is_in_function=mutant.runs_in_calls)
                status = _play(session, tests)
            finally:
                os._exit(status)
        return _wait(child) != 0


def _play(session: pytest.Session, tests: Sequence[pytest.Item]) -> int:
    for item, following in _pairs(tests):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _tests_for(
    mutant: Mutant, ordered: Sequence[pytest.Item], tests_of_line: dict[int, list[str]]
) -> list[pytest.Item]:
    """Those that run through it, the quickest first; all if it is evaluated when the module is loaded."""
    if not mutant.runs_in_calls:
        return [*ordered]
    names = {name for line in mutant.lines for name in tests_of_line.get(line, ())}
    return [item for item in ordered if item.nodeid in names]


def _name_of(source: Path) -> str:
    parts = source.with_suffix("").parts
    return ".".join(parts[parts.index("corral") :])


def _be_silent(session: pytest.Session) -> None:
    session.config.pluginmanager.unregister(name="terminalreporter")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _wait(child: int) -> int:
    """The status of a child; one that waits forever is killed, however busy the machine is."""
    silent, before = 0, ""
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(_LOOK_S / 20 if not before else _LOOK_S)
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        now = " ".join((fields[0], fields[11], fields[12]))
        silent = silent + 1 if now == before and fields[0] == "S" else 0
        before = now
        if silent > _SILENT_LOOKS:
            os.kill(child, 9)
