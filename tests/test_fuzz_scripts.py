"""A small share of the fuzzing that `scripts/` does at length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("fuzz_templates.py", ["2000", "5"]), ("fuzz_parsers.py", ["--count", "2500", "--seed", "5"])],
)
def test_fuzzing_finds_nothing(script: str, arguments: list[str]) -> None:
    """No crash, no hang, no lost text."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
