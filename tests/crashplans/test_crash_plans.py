"""Crash plans as a part of the tests: a slice of all, another one each day. `./dev crash` plays all."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.crashplans.library import why_not

pytestmark = [pytest.mark.process, pytest.mark.slow]
# All plans take minutes of processor time; in this many days each is played.
_SLICES = 8
_DEADLINE_S = 900


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    if reason := why_not():
        pytest.skip(reason)
    command = [sys.executable, "-m", "tests.crashplans", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)


def test_a_slice_of_all_plans() -> None:
    """After each the next start is whole, and nothing that was acknowledged is lost."""
    today = int(time.time() // 86400) % _SLICES
    done = play("--slice", f"{today}/{_SLICES}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " 0 broken" in done.stdout


def test_planted_faults_are_found() -> None:
    """A sync left out, a removal in the wrong order and ten more: the plans notice each of them."""
    done = play("--planted")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " planted, 0 not found" in done.stdout
