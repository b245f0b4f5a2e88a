"""Mutation testing of the core.

./dev mutate                        all modules
./dev mutate names.py access/keys.py    some of them (paths below src/corral)
./dev mutate names.py --only short      only changes whose text has a word in it
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.coremodules import ROOT, core
from scripts.mutation.kept import equivalent, problems
from scripts.mutation.play import PROFILE, Player
from scripts.mutation.sites import Mutant

_SOURCES = "src/corral/"
_WANTED = 0.9


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if each module has at least the score that is wanted, and the list of equivalent changes is right."""
    parser = argparse.ArgumentParser(prog="./dev mutate")
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--only", default="")
    given = parser.parse_args(arguments)
    known = [path.removeprefix(_SOURCES) for path in core()]
    if unknown := [module for module in given.modules if module not in known]:
        parser.error(f"{unknown[0]} is not a module of the core: {', '.join(known)}")
    if len(given.modules) == 1:
        return _play(given.modules[0], given.only)
    statuses = [_play_elsewhere(module, given.only) for module in given.modules or known]
    return max(statuses)


def _play_elsewhere(module: str, only: str) -> int:
    """In a process of its own, which has loaded nothing yet."""
    command = [sys.executable, "-m", "scripts.mutation", module, "--only", only]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _play(module: str, only: str) -> int:
    path = _SOURCES + module
    player = Player(ROOT / path, only)
    chosen = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-m", "not process and not slow"]
    pytest.main([*core()[path], *chosen, f"--hypothesis-profile={PROFILE}"], plugins=[player])
    if player.problem:
        print(f"{module}: {player.problem}")
        return 3
    return _report(module, player, is_whole=not only)


def _report(module: str, player: Player, *, is_whole: bool) -> int:
    same = equivalent(module)
    survivors = [mutant for mutant in player.survived if mutant.key not in same]
    for mutant in survivors:
        print(_as_diff(module, mutant))
    killed, count = len(player.killed), len(player.killed) + len(player.survived)
    kept = len(player.survived) - len(survivors)
    score = killed / max(count - kept, 1)
    print(
        f"{module}: {count} changes, {killed} noticed, {kept} equivalent, {len(survivors)} survived: {score:.1%}"
    )
    wrong = (
        problems(module, {m.key for m in player.survived}, {m.key for m in player.killed}) if is_whole else []
    )
    for problem in wrong:
        print(f"{Path(__file__).with_name('equivalent.toml').name}, {module}: {problem}")
    return 1 if wrong or score < _WANTED else 0


def _as_diff(module: str, mutant: Mutant) -> str:
    where = f"{_SOURCES}{module}:{mutant.lines.start}"
    return f"--- {where} {mutant.place}\n-{mutant.before}\n+{mutant.after}\n    key: {mutant.key}"


if __name__ == "__main__":
    sys.exit(main())
