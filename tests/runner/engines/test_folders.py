"""An engine's folder takes its place in one step; what a crash leaves is used or cleared away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corral.gpus import EngineDevice
from corral.runner.engines.choice import UnknownEngineError, find_engine, installed_engines, wheel_version
from corral.runner.engines.facts import FILE, EngineFacts, read_facts, write_facts
from corral.runner.engines.folders import (
    NAMES,
    EnginesBusyError,
    EngineSetupError,
    engine_folder,
    engines_folder,
    known_name,
    locked,
    put_in_place,
    remove_engine,
    workplace,
)

CARD = EngineDevice("CUDA0", "NVIDIA H200", "gpu", 140 << 30, 139 << 30, "0000:01:00.0")


def make(folder: Path, name: str, version: str = "") -> Path:
    folder.mkdir(parents=True)
    write_facts(folder, EngineFacts(name, version or wheel_version(), "cuda", devices=(CARD,)))
    return folder


def test_facts_are_read_back(tmp_path: Path) -> None:
    facts = EngineFacts(
        "cuda",
        "1.2.3",
        "cuda",
        "index",
        "http://x/w.whl",
        "sha256:00",
        "2026",
        "CUDA : ",
        "",
        ("90",),
        (CARD,),
        ("GL_EXT_bfloat16",),
    )
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path, "cuda") == facts
    assert facts.has_gpu


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"version": 1, "devices": 3}',
        '{"version": "1", "devices": [{}]}',
        '{"version": "1", "devices": ["x"]}',
    ],
)
def test_facts_that_make_no_sense(tmp_path: Path, text: str) -> None:
    """A damaged file is an engine that is not there."""
    (tmp_path / FILE).write_text(text)
    assert read_facts(tmp_path, "cuda") is None


def test_facts_of_an_older_native_build(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"version": "1", "built_at": "x", "features": "CPU : AVX = 1"}')
    facts = read_facts(tmp_path, "native")
    assert facts is not None
    assert (facts.backend, facts.source, facts.features, facts.devices) == (
        "cpu",
        "build",
        "CPU : AVX = 1",
        (),
    )


def test_names() -> None:
    assert [known_name(text) for text in ("cuda", "cpu-native", "native", "hip", "../x", "")] == [
        "cuda",
        "native",
        "native",
        "rocm",
        "",
        "",
    ]


def test_every_engine_is_found_by_its_name(tmp_path: Path) -> None:
    for name in NAMES:
        with pytest.raises(UnknownEngineError) as caught:
            find_engine(name, tmp_path)
        assert "corral engine" in caught.value.hint
        folder = make(engine_folder(tmp_path, name), name)
        assert find_engine(name, tmp_path).package_folder == folder
    assert [engine.name for engine in installed_engines(tmp_path)][:5] == [
        "builtin",
        "native",
        "vulkan",
        "rocm",
        "cuda",
    ]


def test_another_version_is_refused_with_the_command(tmp_path: Path) -> None:
    make(engine_folder(tmp_path, "vulkan"), "vulkan", "1.0")
    with pytest.raises(UnknownEngineError, match=r"vulkan build of the engine has version 1\.0") as caught:
        find_engine("vulkan", tmp_path)
    assert "corral engine install vulkan" in caught.value.hint


def test_the_new_one_replaces_the_old_one(tmp_path: Path) -> None:
    old = make(engine_folder(tmp_path, "cuda"), "cuda", "old")
    with locked(tmp_path), workplace(tmp_path, "cuda") as work:
        made = make(work / "engine", "cuda", "new")
        assert put_in_place(tmp_path, "cuda", made) == old
    assert (facts := read_facts(old, "cuda"))
    assert facts.version == "new"
    assert sorted(os.listdir(old.parent)) == [".lock", "cuda"]


def test_a_crash_between_the_renames(tmp_path: Path) -> None:
    """The old one serves from where it is, and the next holder of the lock puts it back."""
    folder = make(engine_folder(tmp_path, "cuda"), "cuda")
    old = engines_folder(tmp_path) / ".old-cuda"
    folder.rename(old)
    (engines_folder(tmp_path) / ".new-cuda").mkdir()
    assert find_engine("cuda", tmp_path).package_folder == old
    with locked(tmp_path):
        assert find_engine("cuda", tmp_path).package_folder == folder
    assert sorted(os.listdir(folder.parent)) == [".lock", "cuda"]


def test_a_crash_after_the_renames(tmp_path: Path) -> None:
    """The new one serves; what is left of the old one goes."""
    folder = make(engine_folder(tmp_path, "cuda"), "cuda", "new")
    make(engines_folder(tmp_path) / ".old-cuda", "cuda", "old")
    assert engine_folder(tmp_path, "cuda") == folder
    with locked(tmp_path):
        pass
    assert sorted(os.listdir(folder.parent)) == [".lock", "cuda"]


@pytest.mark.process
def test_one_at_a_time(tmp_path: Path) -> None:
    """The second one is refused with the number of the first; a lock of a killed process is free."""
    script = (
        "import sys, pathlib, corral.runner.engines.folders as f\n"
        "with f.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(EnginesBusyError, match=f"another process \\({process.pid}\\)"), locked(tmp_path):
            pass
        process.kill()
        process.wait()
        with locked(tmp_path):
            pass


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("")
    with pytest.raises(EngineSetupError, match="cannot be written"), locked(tmp_path):
        pass


def test_remove(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert not remove_engine(tmp_path, "cuda")
        make(engine_folder(tmp_path, "cuda"), "cuda")
        assert remove_engine(tmp_path, "cuda")
    assert os.listdir(engines_folder(tmp_path)) == [".lock"]


def test_a_link_of_the_owner_is_not_followed(tmp_path: Path) -> None:
    """Somebody keeps an engine on another disk: it is replaced here, not there."""
    elsewhere = make(tmp_path / "disk" / "cuda", "cuda", "old")
    engines_folder(tmp_path).mkdir()
    (engines_folder(tmp_path) / "cuda").symlink_to(elsewhere)
    with locked(tmp_path), workplace(tmp_path, "cuda") as work:
        put_in_place(tmp_path, "cuda", make(work / "engine", "cuda", "new"))
    assert (facts := read_facts(elsewhere, "cuda"))
    assert facts.version == "old"
    assert sorted(os.listdir(engines_folder(tmp_path))) == [".lock", "cuda"]
