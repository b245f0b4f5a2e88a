"""GPUs that the engine cannot use: found by drivers' tools that are scripts here, said with what mends it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from corral import devices
from corral.cli.doctor.machine_checks import check_gpus
from corral.runner.engines.gpus import EngineGPUs, parse_device_list
from tests.conftest import Server

_SMI = "0, NVIDIA GeForce RTX 4090, 24564, 23010"


def script(path: Path, output: str) -> Path:
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools, first on PATH; a machine of another kind that this one has none of."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.process
def test_the_wheel_leaves_a_gpu_unused(tools: Path) -> None:
    """The package that is installed here is built for processors only."""
    script(tools / "nvidia-smi", _SMI)
    gpus = EngineGPUs()
    assert [gpu.name for gpu in gpus.gpus] == ["NVIDIA GeForce RTX 4090"]
    assert gpus.devices == ()
    assert not gpus.is_used
    problem, advice = gpus.problem
    assert problem == "NVIDIA GeForce RTX 4090 is not used: the engine has no CUDA backend"
    assert "pip install xllamacpp --force-reinstall --index-url" in advice
    assert "CORRAL_LLAMA_SERVER" in advice


@pytest.mark.process
def test_a_binary_that_was_built_for_it(tools: Path) -> None:
    script(tools / "nvidia-smi", _SMI)
    text = "Available devices:\n  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 23010 MiB free)"
    gpus = EngineGPUs(server_path=script(tools / "server", text))
    assert gpus.devices == ("CUDA0",)
    assert gpus.is_used
    assert gpus.problem == ("", "")
    without = EngineGPUs(server_path=script(tools / "other", "Available devices:"))
    assert not without.is_used
    assert str(tools / "other") in without.problem[1]


def test_no_gpu_is_no_problem_and_no_question(tools: Path) -> None:
    """A machine without one does not start the engine to ask it."""
    gpus = EngineGPUs(server_path=tools / "not-there")
    assert not gpus.is_used
    assert "devices" not in vars(gpus)


def test_the_setting_for_processors_only(tools: Path) -> None:
    script(tools / "nvidia-smi", _SMI)
    gpus = EngineGPUs(library="cpu_avx2")
    assert not gpus.is_used
    assert gpus.problem == ("", "")


def test_a_card_whose_driver_does_not_answer(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tools / "sys/bus/pci/devices/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "class").write_text("0x030000\n")
    (card / "vendor").write_text("0x10de\n")
    bridge = tools / "sys/bus/pci/devices/0000:00:00.0"
    bridge.mkdir()
    (bridge / "class").write_text("0x060000\n")
    assert devices.read_cards(tools) == [("0x10de", 0)]
    monkeypatch.setattr("corral.runner.engines.gpus.read_cards", lambda: devices.read_cards(tools))
    problem, advice = EngineGPUs().problem
    assert problem == "a GPU of NVIDIA is not used: its driver does not answer (nvidia-smi)"
    assert "nvidia-smi" in advice


def test_small_graphics_inside_a_processor_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, tools: Path
) -> None:
    monkeypatch.setattr(
        "corral.runner.engines.gpus.read_cards", lambda: [("0x1002", 512 << 20), ("0x8086", 0)]
    )
    assert EngineGPUs().problem == ("", "")


def test_device_lists() -> None:
    text = "ggml_cuda_init: found 1\nAvailable devices:\n  CUDA0: A (1 MiB)\n  Vulkan1: B, C (2 MiB)\n"
    assert parse_device_list(text) == ("CUDA0", "Vulkan1")
    assert parse_device_list("") == ()


@pytest.mark.process
def test_doctor_warns(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tools / "nvidia-smi", _SMI)
    (finding,) = check_gpus({"CORRAL_HOME": str(tools)})
    assert (finding.check, finding.level) == ("gpu", "warn")
    assert "is not used" in finding.text
    assert "pip install" in finding.advice


def test_the_server_warns_once(tools: Path, start_server: Callable[..., Server]) -> None:
    script(tools / "nvidia-smi", _SMI)
    server = start_server(PATH=f"{tools}:/usr/bin:/bin")
    server.create("say", "say")
    server.post(
        "/api/generate", {"model": "say", "prompt": "a", "stream": False, "options": {"num_predict": 1}}
    )
    server.close()
    assert len([line for line in server.log if "is not used: the engine has no CUDA backend" in line]) == 1
