"""Which engine serves, how a build reports its progress, and what happens when it cannot be made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import xllamacpp
from hypothesis import given
from hypothesis import strategies as st

from corral.runner.engines import choice
from corral.runner.engines.build import build_engine, build_progress
from corral.runner.engines.choice import (
    UnknownEngineError,
    chosen_name,
    find_engine,
    installed_engines,
    use_engine,
)
from corral.runner.engines.folders import EngineSetupError, engine_folder
from corral.runner.engines.prove import read_features
from tests.conftest import Server


def put_native(home: Path, version: str) -> Path:
    """A native build that is a copy of the wheel: real, but quick to make. It marks that it was imported."""
    folder = engine_folder(home, "native")
    package = Path(xllamacpp.__file__).parent
    folder.mkdir(parents=True)
    (folder / package.name).mkdir()
    for path in package.iterdir():
        if path.is_file():
            (folder / package.name / path.name).symlink_to(path)
    init = folder / package.name / "__init__.py"
    text = init.read_text() + "\nopen(__file__.replace('__init__.py', 'imported'), 'w').close()\n"
    init.unlink()
    init.write_text(text)
    (folder / "build.json").write_text(json.dumps({"version": version}))
    return folder


def test_without_a_choice_the_wheel_serves(tmp_path: Path) -> None:
    """Nothing has to exist."""
    assert chosen_name(tmp_path / "nothing") == "builtin"
    assert installed_engines(tmp_path)[0].name == "builtin"
    assert find_engine("builtin", tmp_path).package_folder is None


def test_a_native_build_can_be_chosen(tmp_path: Path) -> None:
    """It is listed, chosen, found again, and given up."""
    with pytest.raises(UnknownEngineError, match="no native build"):
        use_engine("native", tmp_path)
    folder = put_native(tmp_path, choice.wheel_version())
    assert [engine.name for engine in installed_engines(tmp_path)][:2] == ["builtin", "native"]
    assert use_engine("native", tmp_path).package_folder == folder
    assert chosen_name(tmp_path) == "native"
    use_engine("builtin", tmp_path)
    assert chosen_name(tmp_path) == "builtin"


def test_a_build_of_another_version_is_refused(tmp_path: Path) -> None:
    """After an update of Corral the old build does not serve in silence."""
    put_native(tmp_path, "2020.1.1")
    with pytest.raises(UnknownEngineError, match=r"has version 2020\.1\.1") as caught:
        find_engine("native", tmp_path)
    assert "corral engine build" in caught.value.hint


def test_a_binary_is_named_by_its_path(tmp_path: Path) -> None:
    """Any executable; one that is not there is refused with what was looked for."""
    assert find_engine(sys.executable, tmp_path).server_path == Path(sys.executable)
    with pytest.raises(UnknownEngineError, match=r"not found \(checked: /nope\)"):
        find_engine("/nope", tmp_path)


def test_a_server_runs_on_the_chosen_engine(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """The child imports the engine from the chosen folder, and the model answers."""
    put_native(tmp_path, choice.wheel_version())
    use_engine("native", tmp_path)
    server = start_server(CORRAL_HOME=str(tmp_path))
    server.create("m", "say", template="{{ .Prompt }}")
    assert server.post("/api/generate", {"model": "m", "prompt": "now A", "stream": False})["response"]
    assert (tmp_path / "engines" / "native" / "xllamacpp" / "imported").exists()


@pytest.mark.process
def test_a_choice_that_is_gone_stops_the_start(tmp_path: Path) -> None:
    """A server without its engine says so instead of starting with another one."""
    folder = put_native(tmp_path, choice.wheel_version())
    use_engine("native", tmp_path)
    shutil.rmtree(folder)
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "serve"],
        env={**os.environ, "CORRAL_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:0", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no native build of the engine" in done.stderr
    assert "corral engine build" in done.stderr


def test_progress() -> None:
    """It begins at nothing, grows with each file, and leaves room for what comes after the compiler."""
    files = [f"[{n % 101:3}%] Building {'CXX' if n % 3 else 'C'} object src/{n}.o\n" for n in range(197)]
    shares = [share for share, _ in build_progress(iter(["Collecting\n", *files, "[100%] Linking CXX\n"]))]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[99] == pytest.approx(0.5, abs=0.01)
    assert shares[-1] == pytest.approx(0.95)


@given(st.lists(st.text()))
def test_progress_of_any_output(lines: list[str]) -> None:
    """No output breaks it."""
    shares = [share for share, _ in build_progress(iter(lines))]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_no_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is fetched."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineSetupError, match="no C\\+\\+ compiler") as caught:
        build_engine(tmp_path)
    assert "apt install g++" in caught.value.hint


@pytest.mark.process
def test_features_of_the_wheel(tmp_path: Path) -> None:
    """What the engine says of itself; a folder without an engine in it is an error."""
    assert "CPU" in read_features(None)
    (tmp_path / "xllamacpp").mkdir()
    (tmp_path / "xllamacpp" / "__init__.py").write_text("raise ImportError('broken build')")
    with pytest.raises(EngineSetupError, match="broken build"):
        read_features(tmp_path)
