"""`--fast` keeps its promise, and what needs packages that are missing says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras import lazily, need

MODULE = """
import subprocess, sys, pytest

@pytest.fixture
def server(process): ...

def test_of_a_server(server): ...

@pytest.mark.slow
def test_slow(): ...

def test_plain(): ...

def test_in_secret():
    try:
        subprocess.run([sys.executable, "--version"])
    except Exception:
        pass
"""


def fast(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_module.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.fast", "-p", "no:cacheprovider", "--fast", "-v"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, "--rootdir", str(folder), *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
def test_processes_are_refused(tmp_path: Path) -> None:
    """A test that starts one without saying so fails, even where the code under test survives the refusal."""
    done = fast(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed, 2 deselected" in done.stdout
    assert "mark it `process`, it starts one: subprocess.Popen" in done.stdout


@pytest.mark.process
def test_nothing_to_run_is_a_failure(tmp_path: Path) -> None:
    done = fast(tmp_path, "-k", "server or slow")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped with what installs it, but an error where all has to run."""
    monkeypatch.delenv("CORRAL_TEST_CLIENTS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no_such_package not installed: \./dev clients"):
        need("json", "no_such_package")
    monkeypatch.setenv("CORRAL_TEST_CLIENTS", "required")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        lazily("no_such_package")
    assert lazily("json").loads("[1]") == [1]
