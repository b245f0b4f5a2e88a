"""Models on devices, through a server: the engine double has devices with room for so many layers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.waiting import wait_until

MIB = 1 << 20
# What makes a machine without a card ask the engine.
HAS_GPU = {"GGML_VK_VISIBLE_DEVICES": "0"}
pytestmark = pytest.mark.process


def ask(server: Server, **options: Any) -> Any:
    return server.post(
        "/api/generate", {"model": "m", "prompt": "a", "raw": True, "stream": False, "options": options}
    )


def refused(server: Server, *, status: int = 500, **options: Any) -> str:
    """The error of a request that has to fail."""
    body = {"model": "m", "prompt": "a", "raw": True, "stream": False, "options": options}
    found, data = server.request("POST", "/api/generate", body)
    assert found == status, data
    return str(json.loads(data)["error"])


def loaded(server: Server) -> dict[str, Any]:
    (entry,) = server.get("/api/ps")["models"]
    found: dict[str, Any] = entry
    return found


def request_line(server: Server, count: int = 1) -> str:
    """The line of the last request for an answer, when `count` of them have been written."""

    def lines() -> list[str]:
        return [line for line in server.log if "path=/api/generate" in line]

    wait_until(lambda: len(lines()) >= count)
    return lines()[-1]


def reasons(server: Server) -> list[str]:
    return re.findall(r' loading model=m:latest reason="([^"]*)"', "\n".join(server.log))


def test_all_layers(fake_server: Callable[..., Server]) -> None:
    server = fake_server(HAS_GPU, devices="CUDA0=99")
    ask(server)
    entry = loaded(server)
    assert (entry["size_vram"], entry["size"]) == (22 * MIB, 22 * MIB)
    assert (entry["gpu_layers"], entry["layers"]) == (2, 2)
    assert entry["devices"] == [{"name": "CUDA0", "size": 22 * MIB, "layers": 2}]
    assert "fallback" not in entry
    assert "devices=CUDA0" in request_line(server)


@pytest.mark.parametrize(
    ("num_gpu", "vram_mib", "where"), [(0, 0, "CPU"), (1, 11, "CUDA0+CPU"), (99, 22, "CUDA0")]
)
def test_num_gpu(fake_server: Callable[..., Server], num_gpu: int, vram_mib: int, where: str) -> None:
    """As many layers as asked for; that is no fallback."""
    server = fake_server(HAS_GPU, devices="CUDA0=99")
    ask(server, num_gpu=num_gpu)
    entry = loaded(server)
    assert entry["size_vram"] == vram_mib * MIB
    assert (entry["size"] == entry["size_vram"]) == (num_gpu == 99)
    assert f"devices={where}" in request_line(server)
    assert "fallback" not in request_line(server)


def test_two_cards(fake_server: Callable[..., Server]) -> None:
    """One of them has room; asked for both, both are used."""
    server = fake_server(HAS_GPU, devices="CUDA0=99,CUDA1=99")
    ask(server)
    assert [part["name"] for part in loaded(server)["devices"]] == ["CUDA0"]
    ask(server, main_gpu=1)
    assert [part["name"] for part in loaded(server)["devices"]] == ["CUDA1"]
    ask(server, tensor_split=[1, 1])
    assert [part["name"] for part in loaded(server)["devices"]] == ["CUDA0", "CUDA1"]


def test_spread(fake_server: Callable[..., Server]) -> None:
    server = fake_server({**HAS_GPU, "OLLAMA_SCHED_SPREAD": "1"}, devices="CUDA0=99,CUDA1=99")
    ask(server)
    assert [part["size"] for part in loaded(server)["devices"]] == [11 * MIB, 11 * MIB]


def test_out_of_memory_step_by_step(fake_server: Callable[..., Server]) -> None:
    """Slots, layers; the answer's line says that not all are on the card."""
    server = fake_server(HAS_GPU, devices="CUDA0=1")
    ask(server)
    entry = loaded(server)
    assert (entry["gpu_layers"], entry["layers"]) == (1, 2)
    assert entry["fallback"] == "1 of 2 layers are on the CPU"
    assert 'fallback="1 of 2 layers are on the CPU"' in request_line(server)
    assert reasons(server)[0] == "not loaded"
    assert [reason.partition(": ")[2] for reason in reasons(server)[1:]] == [
        "slots 4 -> 1",
        "GPU layers automatic -> 1",
    ]


def test_another_card_then_the_processor(fake_server: Callable[..., Server]) -> None:
    server = fake_server({**HAS_GPU, "OLLAMA_NUM_PARALLEL": "1"}, devices="CUDA0=0,CUDA1=5")
    ask(server)
    assert [part["name"] for part in loaded(server)["devices"]] == ["CUDA1"]
    assert "devices CUDA0 -&gt; CUDA1".replace("&gt;", ">") in "\n".join(reasons(server))
    server = fake_server({**HAS_GPU, "OLLAMA_NUM_PARALLEL": "1"}, devices="CUDA0=0,CUDA1=0")
    ask(server)
    entry = loaded(server)
    assert (entry["size_vram"], entry.get("devices", [])) == (0, [])
    assert entry["fallback"] == "out of memory on CUDA0, CUDA1: all layers are on the CPU"
    assert 'fallback="out of memory on CUDA0, CUDA1: all layers are on the CPU"' in request_line(server)
    assert "devices=CPU" in request_line(server)


def test_a_model_that_must_be_on_a_gpu(fake_server: Callable[..., Server]) -> None:
    """No layer may stay on the processor: by the setting, by a request, and where there is no card at all."""
    server = fake_server({**HAS_GPU, "CORRAL_DEVICE_POLICY": "require_gpu"}, devices="CUDA0=1")
    assert "GPU memory" in refused(server)
    assert server.get("/api/ps")["models"] == []
    ask(server, device_policy="prefer_gpu")
    assert loaded(server)["gpu_layers"] == 1
    without = fake_server()
    assert "device_policy is require_gpu" in refused(without, device_policy="require_gpu")


def test_the_processor_alone(fake_server: Callable[..., Server]) -> None:
    server = fake_server({**HAS_GPU, "CORRAL_DEVICE_POLICY": "cpu"}, devices="CUDA0=99")
    ask(server)
    assert loaded(server)["size_vram"] == 0
    assert "fallback" not in request_line(server)
    ask(server, device_policy="require_gpu")
    assert loaded(server)["gpu_layers"] == 2


@pytest.mark.parametrize("value", ["gpu", "", "PREFER"])
def test_an_unknown_policy(fake_server: Callable[..., Server], value: str) -> None:
    server = fake_server()
    error = 'option "device_policy" must be prefer_gpu, require_gpu or cpu'
    assert refused(server, status=400, device_policy=value) == error


def test_a_lost_gpu(fake_server: Callable[..., Server], tmp_path: Path) -> None:
    """The engine dies with its device; the next load looks for devices again, and says what is missing."""
    lost = tmp_path / "lost"
    server = fake_server(HAS_GPU, devices="CUDA0=99", lost=lost)
    ask(server)
    lost.touch()
    refused(server)
    ask(server)
    assert loaded(server)["size_vram"] == 0
    assert 'fallback="no GPU is found any more"' in request_line(server, 3)
    lost.unlink()
    server.post("/api/generate", {"model": "m", "keep_alive": 0})
    ask(server)
    assert loaded(server)["gpu_layers"] == 2
