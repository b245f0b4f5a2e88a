"""`corral engine` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corral.runner.engines.choice import wheel_version
from tests.doubles.wheel_index import WheelIndex, small_wheel
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
    """The chosen one has a star; without a choice, the best one that is there."""
    put_native(tmp_path, wheel_version())
    assert [row.split()[1] for row in engine(tmp_path).stdout.splitlines() if row.startswith("*")] == [
        "native"
    ]
    assert engine(tmp_path, "use", "builtin").returncode == 0
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
    assert "usage: corral engine [list | info [NAME] | install" in engine(tmp_path, "repair").stderr
    without = engine(tmp_path, "build", PATH=str(tmp_path))
    assert without.returncode == 1
    assert "no C++ compiler found" in without.stderr


def test_a_missing_driver_is_nothing_broken(tmp_path: Path) -> None:
    """As on a machine that compiles for others."""
    source = "raise ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')"
    wheel = small_wheel(tmp_path / "wheels", source=source)
    done = engine(tmp_path, "install", "cuda", "--wheel", str(wheel))
    assert done.stdout == (
        "The cuda engine is here, but could not be tried: there is no NVIDIA driver here (libcuda.so.1)."
        " To use it: corral engine use cuda\n"
    )
    for words in ((), ("info", "cuda")):
        shown = " ".join(engine(tmp_path, *words).stdout.split())
        assert "not used: there is no NVIDIA driver here (libcuda.so.1)" in shown
        assert "broken" not in shown


def test_install_use_and_remove(tmp_path: Path) -> None:
    """An engine from an index is selected if it lists a card, listed, described, and removed again."""
    home = tmp_path / "home"
    with WheelIndex(small_wheel(tmp_path / "wheels")) as index:
        done = engine(home, "install", "cuda", "--index-url", index.address, no_proxy="*")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "The cuda engine is ready and will be used from the next server start on.\n"
        assert done.stderr.splitlines()[-1] == "installing engine 100%"
        mirror = engine(home, "install", "rocm", "--no-use", CORRAL_ENGINE_INDEX=index.address, no_proxy="*")
        assert mirror.stdout == "The rocm engine is ready. To use it: corral engine use rocm\n", mirror.stderr
        assert "/rocm-7.2.4/xllamacpp/" in index.requests
    rows = [row.split() for row in engine(home).stdout.splitlines()]
    assert ["*", "cuda", wheel_version(), "CUDA0", "ARCHS", "AVX2"] in rows
    (entry,) = [
        e for e in json.loads(engine(home, "list", "--json").stdout)["engines"] if e["name"] == "cuda"
    ]
    assert entry["chosen"]
    assert entry["digest"].startswith("sha256:")
    assert entry["origin"] == index.address
    described = json.loads(engine(home, "info", "--json").stdout)
    assert described["name"] == "cuda"
    assert described["devices"] == [
        {
            "name": "CUDA0",
            "description": "NVIDIA H200",
            "kind": "gpu",
            "library": "cuda",
            "total_bytes": 2 << 30,
            "free_bytes": 1 << 30,
            "pci": "0000:01:00.0",
        }
    ]
    text = engine(home, "info", "cuda").stdout
    assert "NVIDIA H200" in text
    assert "1.1 GB" in text
    assert engine(home, "remove", "cuda").stdout == (
        "the cuda engine was removed; servers started from now on choose one themselves (auto)\n"
    )
    assert engine(home, "remove", "cuda").stdout == "the cuda engine is not installed\n"
    assert "rocm" in engine(home).stdout


def test_an_engine_without_a_card_is_not_selected(tmp_path: Path) -> None:
    """It is there, and says so; the server goes on with the one that works."""
    source = "def get_system_info(): return 'CPU : AVX = 1'\ndef get_device_info(): return []\n"
    wheel = small_wheel(tmp_path / "wheels", source=source)
    done = engine(tmp_path / "home", "install", "vulkan", "--wheel", str(wheel))
    assert done.stdout == (
        "The vulkan engine is here, but lists no GPU (corral engine info vulkan). "
        "To use it: corral engine use vulkan\n"
    )
    assert not (tmp_path / "home" / "engine").exists()


def test_the_builtin_engine_described(tmp_path: Path) -> None:
    described = json.loads(engine(tmp_path, "info", "builtin", "--json").stdout)
    assert described["version"] == wheel_version()
    assert [device["kind"] for device in described["devices"]][:1] == ["cpu"]
    assert described["devices"][0]["total_bytes"] > 0


def test_an_engine_for_this_machine(tmp_path: Path) -> None:
    """`auto` on a machine without a card, whatever this one has."""
    done = engine(tmp_path, "install", "auto", "--wheel", "x", "--index-url", "y")
    assert "only one of '--index-url' or '--wheel'" in done.stderr


def test_flags_of_another_subcommand(tmp_path: Path) -> None:
    """They are refused instead of ignored."""
    assert "--wheel does not belong to engine build" in engine(tmp_path, "build", "--wheel", "x").stderr
    assert (
        "--arch does not belong to engine install"
        in engine(tmp_path, "install", "cuda", "--arch", "90").stderr
    )
    assert "there is no engine 'sycl' to install" in engine(tmp_path, "install", "sycl").stderr
    assert "there is no engine '../x' to install" in engine(tmp_path, "remove", "../x").stderr
