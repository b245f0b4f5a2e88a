"""GPUs that the engine cannot use: found by drivers' tools that are scripts here, said with what mends it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cli.doctor.machine_checks import check_gpus
from corral.gpus import (
    Card,
    EngineDevice,
    is_jetson,
    may_have_gpu,
    merged,
    parse_nvidia_smi,
    parse_pci,
    parse_rocm_smi,
    read_cards,
    usable_devices,
)
from corral.runner.engines.cards import advise
from corral.runner.engines.gpus import EngineGPUs
from corral.runner.engines.probe import ProbeError, parse_package_list, parse_server_list
from tests.conftest import Server
from tests.runner.engines.recorded import GIB, MACHINES, MIB

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


@pytest.mark.parametrize("name", MACHINES)
def test_recorded_machines(name: str, tmp_path: Path) -> None:
    """The engine's devices, with the free memory of whoever knows it best."""
    machine = MACHINES[name]
    for path, text in machine.files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    named = (*parse_nvidia_smi(machine.nvidia, 64 * GIB, 48 * GIB), *parse_rocm_smi(machine.amd))
    devices = usable_devices(machine.devices, with_integrated=machine.with_integrated)
    found = merged(devices, named, 64 * GIB, 48 * GIB, tmp_path)
    assert tuple(
        (
            gpu.device,
            gpu.library,
            gpu.total_bytes // MIB,
            gpu.free_bytes // MIB,
            gpu.is_unified,
            gpu.is_measured,
        )
        for gpu in found
    ) == (machine.expected)
    assert [gpu.index for gpu in found] == list(range(len(found)))


def test_addresses_and_compute_capabilities() -> None:
    (gpu,) = parse_nvidia_smi("0, 00000000:C1:00.0, 7.2, Xavier, the card, 8192, 8000\n", 0, 0)
    assert (gpu.pci, gpu.compute, gpu.name) == ("0000:c1:00.0", (7, 2), "Xavier, the card")
    assert [parse_pci(text) for text in ("", "card0", "0000:1:0.0", "0000:0A:1f.7 ")] == [
        "",
        "",
        "",
        "0000:0a:1f.7",
    ]


@given(
    st.lists(
        st.builds(
            EngineDevice,
            st.text(),
            st.text(),
            st.sampled_from(["gpu", "igpu", "cpu"]),
            st.integers(),
            st.integers(),
        )
    ),
    st.text(),
)
def test_any_list_of_devices_is_taken(devices: list[EngineDevice], text: str) -> None:
    """Never more free than there is, each device once, in the engine's order."""
    used = usable_devices(devices, with_integrated=True)
    found = merged(used, parse_nvidia_smi(text, GIB, GIB), GIB, GIB, Path("/nowhere"))
    assert [gpu.device for gpu in found] == [device.name for _, device in used]
    assert all(gpu.free_bytes <= gpu.total_bytes for gpu in found)
    assert len({device.kind for _, device in used}) <= 1


@pytest.mark.process
def test_the_wheel_leaves_a_gpu_unused(tools: Path) -> None:
    """The package that is installed here is built for processors only."""
    script(tools / "nvidia-smi", _SMI)
    gpus = EngineGPUs()
    assert [gpu.name for gpu in gpus.tools()] == ["NVIDIA GeForce RTX 4090"]
    assert [device.kind for device in gpus.devices] == ["cpu"]
    assert not gpus.is_used
    problem, advice = gpus.problem()
    assert problem == "NVIDIA GeForce RTX 4090 is not used: the engine has no CUDA backend"
    assert advice == "corral engine install cuda"


@pytest.mark.process
def test_a_binary_that_was_built_for_it(tools: Path) -> None:
    script(tools / "nvidia-smi", _SMI)
    text = "Available devices:\n  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 23010 MiB free)"
    gpus = EngineGPUs(server_path=script(tools / "server", text))
    (gpu,) = gpus.read(64 * GIB, 48 * GIB)
    assert (gpu.device, gpu.index, gpu.free_bytes) == ("CUDA0", 0, 23010 * MIB)
    assert gpus.problem() == ("", "")
    without = EngineGPUs(server_path=script(tools / "other", "Available devices:"))
    assert not without.is_used
    assert str(tools / "other") in without.problem()[1]


@pytest.mark.process
def test_an_engine_that_cannot_be_asked(tools: Path) -> None:
    """A library of its backend is missing, say: its own last line is the reason."""
    script(tools / "nvidia-smi", _SMI)
    path = tools / "server"
    path.write_text("#!/bin/sh\necho libcudart.so.12: cannot open shared object file >&2\nexit 127\n")
    path.chmod(0o755)
    gpus = EngineGPUs(server_path=path)
    assert gpus.read(GIB, GIB) == ()
    assert gpus.problem()[0].endswith("is not used: libcudart.so.12: cannot open shared object file")
    assert EngineGPUs(server_path=tools / "not-there").devices == ()


def test_no_gpu_is_no_problem_and_no_question(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without one does not start the engine to ask it."""
    monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: False)
    gpus = EngineGPUs(probe=lambda **_engine: pytest.fail("asked"))
    assert not gpus.is_used
    assert gpus.problem() == ("", "")


def test_traces_of_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("GGML_VK_VISIBLE_DEVICES", raising=False)
    assert not may_have_gpu(tmp_path)
    (tmp_path / "dev/dri").mkdir(parents=True)
    assert may_have_gpu(tmp_path)
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0")
    assert may_have_gpu(tmp_path / "nowhere")


def test_what_nobody_else_measures_is_asked_for_again(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a card of Intel: each look at its memory is a question to the engine."""
    monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: True)
    answers = iter([EngineDevice("Vulkan0", "Arc", "gpu", 16 * GIB, free * GIB) for free in (15, 9, 3)])
    gpus = EngineGPUs(probe=lambda **_engine: (next(answers),))
    assert [gpus.read(GIB, GIB)[0].free_bytes // GIB for _ in range(3)] == [15, 9, 3]
    measured = iter([EngineDevice("MTL0", "Apple", "igpu", 16 * GIB, 15 * GIB)])
    gpus = EngineGPUs(probe=lambda **_engine: (next(measured),))
    assert [gpus.read(64 * GIB, 20 * GIB)[0].free_bytes // GIB for _ in range(3)] == [15, 15, 15]


def test_a_lost_device_is_looked_for_again(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: True)
    answers = iter([(), (EngineDevice("CUDA0", "A", "gpu", GIB, GIB),)])
    gpus = EngineGPUs(probe=lambda **_engine: next(answers))
    assert (gpus.read(GIB, GIB), gpus.read(GIB, GIB)) == ((), ())
    gpus.look_again()
    assert [gpu.device for gpu in gpus.read(GIB, GIB)] == ["CUDA0"]


def test_the_setting_for_processors_only(tools: Path) -> None:
    script(tools / "nvidia-smi", _SMI)
    gpus = EngineGPUs(library="cpu_avx2")
    assert not gpus.is_used
    assert gpus.problem() == ("", "")


@pytest.mark.process
def test_a_card_whose_driver_does_not_answer(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tools / "sys/bus/pci/devices/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "class").write_text("0x030000\n")
    (card / "vendor").write_text("0x10de\n")
    bridge = tools / "sys/bus/pci/devices/0000:00:00.0"
    bridge.mkdir()
    (bridge / "class").write_text("0x060000\n")
    assert read_cards(tools) == [Card("0x10de", 0)]
    monkeypatch.setattr("corral.runner.engines.gpus.read_cards", lambda: read_cards(tools))
    monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: may_have_gpu(tools))
    problem, advice = EngineGPUs().problem()
    assert problem == "a GPU of NVIDIA is not used: its driver does not answer (nvidia-smi)"
    assert "nvidia-smi" in advice
    assert "corral engine install cuda" in advice


def test_a_card_of_intel_that_no_engine_uses(monkeypatch: pytest.MonkeyPatch, tools: Path) -> None:
    """A card is missed, graphics inside a processor is not: only the card is on a bus of its own."""
    for address, missed in (("0000:00:02.0", False), ("0000:03:00.0", True)):
        device = tools / "sys/bus/pci/devices" / address
        device.mkdir(parents=True)
        (device / "class").write_text("0x030000\n")
        (device / "vendor").write_text("0x8086\n")
        monkeypatch.setattr("corral.runner.engines.gpus.read_cards", lambda: read_cards(tools))
        monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: True)
        problem, advice = EngineGPUs(probe=lambda **_engine: ()).problem()
        assert problem == ("a GPU of Intel is not used: the engine has no backend for it" if missed else "")
        assert ("corral engine install vulkan" in advice) == missed


@pytest.mark.parametrize("trace", ["nvhost-gpu", "nvgpu"])
def test_a_jetson_without_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tools: Path, trace: str) -> None:
    """Its GPU is on no bus; there is no ready-made engine for it."""
    (tools / "dev" / trace).mkdir(parents=True)
    monkeypatch.setattr("corral.runner.engines.gpus.is_jetson", lambda: is_jetson(tools))
    monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: may_have_gpu(tools))
    problem, advice = EngineGPUs(probe=lambda **_engine: ()).problem()
    assert problem == "the GPU of this Jetson is not used: the engine has no backend for it"
    assert "corral engine build cuda --arch 87" in advice
    card = EngineDevice("CUDA0", "Orin", "igpu", GIB, GIB)
    assert EngineGPUs(probe=lambda **_engine: (card,)).problem() == ("", "")
    found = advise(tools)
    assert found.name == ""
    assert "corral engine build cuda --arch 87" in found.reason


@pytest.mark.process
def test_small_graphics_inside_a_processor_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, tools: Path
) -> None:
    monkeypatch.setattr(
        "corral.runner.engines.gpus.read_cards",
        lambda: [Card("0x1002", 512 << 20), Card("0x8086", 0, is_integrated=True)],
    )
    monkeypatch.setattr("corral.runner.engines.gpus.may_have_gpu", lambda: True)
    assert EngineGPUs().problem() == ("", "")


def test_device_lists() -> None:
    text = (
        "ggml_vulkan: 1 = B | uma: 1 | fp16: 1\nAvailable devices:\n"
        "  CUDA0: A, (rev 2) (16 MiB, 8 MiB free)\n  Vulkan1: B (2 MiB, 2 MiB free)\n  CPU: C (9 MiB, 9 MiB free)\n"
    )
    assert [(d.name, d.description, d.kind, d.free_bytes // MIB) for d in parse_server_list(text)] == [
        ("CUDA0", "A, (rev 2)", "gpu", 8),
        ("Vulkan1", "B", "igpu", 2),
        ("CPU", "C", "cpu", 9),
    ]
    assert parse_server_list("") == ()
    with pytest.raises(ProbeError):
        parse_package_list("Segmentation fault")
    with pytest.raises(ProbeError):
        parse_package_list('\ndevices:[["CUDA0"]]')


@pytest.mark.process
def test_doctor_warns(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tools / "nvidia-smi", _SMI)
    (finding,) = check_gpus({"CORRAL_HOME": str(tools)})
    assert (finding.check, finding.level) == ("gpu", "warn")
    assert "is not used" in finding.text
    assert "corral engine install cuda" in finding.advice


def test_the_server_warns_once(tools: Path, start_server: Callable[..., Server]) -> None:
    script(tools / "nvidia-smi", _SMI)
    server = start_server(PATH=f"{tools}:/usr/bin:/bin")
    server.create("say", "say")
    server.post(
        "/api/generate", {"model": "say", "prompt": "a", "stream": False, "options": {"num_predict": 1}}
    )
    server.close()
    assert len([line for line in server.log if "is not used: the engine has no CUDA backend" in line]) == 1
