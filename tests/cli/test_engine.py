"""`corral engine` as it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corral.runner.engines.choice import wheel_version
from tests.runner.engines.test_engines import put_native

pytestmark = pytest.mark.process


def engine(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "engine", *words],
        env={**os.environ, "CORRAL_HOME": str(home), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_list_and_use(tmp_path: Path) -> None:
    """The chosen one has a star."""
    put_native(tmp_path, wheel_version())
    lines = engine(tmp_path).stdout.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "USES"]
    assert lines[1].startswith("*    builtin")
    assert engine(tmp_path, "use", "native").returncode == 0
    rows = engine(tmp_path, "list").stdout.splitlines()
    assert [row.split()[1] for row in rows if row.startswith("*")] == ["native"]


def test_what_cannot_be(tmp_path: Path) -> None:
    """Errors say what to do."""
    missing = engine(tmp_path, "use", "native")
    assert missing.returncode == 1
    assert missing.stderr == "Error: there is no native build of the engine\nbuild it: corral engine build\n"
    assert "usage: corral engine [list | build" in engine(tmp_path, "repair").stderr
    without = engine(tmp_path, "build", PATH=str(tmp_path))
    assert without.returncode == 1
    assert "no C++ compiler found" in without.stderr
