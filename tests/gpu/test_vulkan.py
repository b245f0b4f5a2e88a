"""A chat through Corral with all layers on a Vulkan device, which Mesa computes on the processor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from corral.gpus import EngineDevice
from tests.conftest import Server

QUESTION = {"role": "user", "content": "hello"}
GREEDY = {"temperature": 0, "num_predict": 24, "num_ctx": 512}
# Enough to have a model loaded; each token takes the software device a while.
SHORT = {"num_predict": 2}


def chat(server: Server, **options: Any) -> dict[str, Any]:
    body = {"model": "corral-tiny", "messages": [QUESTION], "stream": False, "think": False}
    answer = server.post("/api/chat", {**body, "options": {**GREEDY, **options}})
    assert isinstance(answer, dict)
    return answer


def test_the_device_is_listed(devices: tuple[EngineDevice, ...]) -> None:
    (device, *_) = [device for device in devices if device.library == "vulkan"]
    assert device.name == "Vulkan0"
    assert device.total_bytes >= device.free_bytes > 0


def test_a_chat_is_computed_there(
    vulkan_server: Server, timed: Callable[[str], list[str]], server: Server
) -> None:
    """The answer is the processor's, and the attention of every layer was computed with Vulkan."""
    answer = chat(vulkan_server, num_gpu=99)
    assert answer["done"]
    server.post("/api/pull", {"model": "corral-tiny", "stream": False})
    assert answer["message"]["content"] == chat(server)["message"]["content"]
    counts = {int(found[1]) for line in timed("FLASH_ATTN_EXT") if (found := re.search(r": (\d+) x ", line))}
    assert counts == {_layer_count(vulkan_server)}
    # The output matrix too: its rows are the vocabulary.
    rows = len(_info(vulkan_server)["tokenizer.ggml.tokens"])
    assert any(f"m={rows} " in line for line in timed("MUL_MAT"))


def test_what_is_loaded_is_on_the_device(vulkan_server: Server) -> None:
    """As the engine says it: every layer, the output among them, and the bytes of all buffers."""
    model = loaded(vulkan_server, num_gpu=99)
    assert model["gpu_layers"] == model["layers"] == _layer_count(vulkan_server) + 1
    (device,) = [device for device in model["devices"] if device["name"] == "Vulkan0"]
    assert device["layers"] == model["layers"]
    assert model["size_vram"] == device["size"] > 0
    assert "fallback" not in model


def test_without_being_asked(vulkan_server: Server) -> None:
    """A device that is there is used; `device_policy` may insist."""
    for options in (SHORT, {"device_policy": "prefer_gpu"}, {"device_policy": "require_gpu"}):
        model = loaded(vulkan_server, **options)
        assert model["gpu_layers"] == model["layers"]


def test_some_of_the_layers(vulkan: dict[str, str], vulkan_server: Server) -> None:
    """`num_gpu` counts layers, the output first; what is left on the processor is said."""
    _needs_processor(vulkan)
    whole = loaded(vulkan_server, num_gpu=99)
    part = loaded(vulkan_server, num_gpu=2)
    assert part["gpu_layers"] == 2
    assert part["layers"] == whole["layers"]
    assert 0 < part["size_vram"] < whole["size_vram"]


def test_the_processor_alone(
    vulkan: dict[str, str], vulkan_server: Server, timed: Callable[[str], list[str]]
) -> None:
    """`num_gpu` 0 leaves nothing on the device, and so does the policy."""
    _needs_processor(vulkan)
    for options in ({"num_gpu": 0}, {"device_policy": "cpu"}):
        vulkan_server.post("/api/generate", {"model": "corral-tiny", "keep_alive": 0})
        before = len(timed("FLASH_ATTN_EXT"))
        assert loaded(vulkan_server, **options)["size_vram"] == 0
        assert len(timed("FLASH_ATTN_EXT")) == before


def test_a_device_without_room(vulkan: dict[str, str], devices: tuple[EngineDevice, ...]) -> None:
    """Memory that runs out while a model is loaded: slots, then layers are given up, in the end the device.

    The engine refuses buffers above a limit that every tensor is below, as a driver does that has no memory left.
    """
    _needs_processor(vulkan)
    limits = {
        "GGML_VK_FORCE_MAX_BUFFER_SIZE": str(1 << 20),
        "GGML_VK_FORCE_MAX_ALLOCATION_SIZE": str(1 << 30),
    }
    server = Server(**vulkan, **limits, OLLAMA_IGPU_ENABLE="1")
    try:
        server.post("/api/pull", {"model": "corral-tiny", "stream": False})
        model = loaded(server, **SHORT)
        assert model["size_vram"] == 0
        assert model["fallback"] == "out of memory on Vulkan0: all layers are on the CPU"
        steps = re.findall(r"retry after out of memory: ([^\"]*)", "\n".join(server.log))
        assert steps[0] == "slots 4 -> 1"
        assert any(step.startswith("GPU layers automatic -> ") for step in steps)
        assert steps[-1] == "devices Vulkan0 -> CPU"
        assert "ran out of memory" in refused(server, device_policy="require_gpu")
        assert "/api/chat" in next(
            line for line in server.log if 'fallback="out of memory on Vulkan0' in line
        )
    finally:
        server.close()


def test_embeddings_beside_a_chat(vulkan_server: Server, server: Server) -> None:
    """Another kind of model: its vector points where the processor's does. Both are on the device."""
    chat(vulkan_server, num_gpu=99, **SHORT)
    vulkan_server.create("embed", "embed")
    body = {"model": "embed", "input": "a horse in a meadow"}
    ours, theirs = (one.post("/api/embed", body)["embeddings"][0] for one in (vulkan_server, server))
    assert sum(a * b for a, b in zip(ours, theirs, strict=True)) > 0.999
    sizes = {model["name"]: model["size_vram"] for model in vulkan_server.get("/api/ps")["models"]}
    assert set(sizes) == {"corral-tiny:latest", "embed:latest"}
    assert all(size > 0 for size in sizes.values())


def refused(server: Server, **options: Any) -> str:
    """The error of a chat that cannot be."""
    body = {"model": "corral-tiny", "messages": [QUESTION], "stream": False}
    status, data = server.request("POST", "/api/chat", {**body, "options": {**GREEDY, **options}})
    assert status >= 400
    return str(json.loads(data)["error"])


def loaded(server: Server, **options: Any) -> dict[str, Any]:
    """What `/api/ps` says of the chat's model, after a chat with options if there are any."""
    if options:
        chat(server, **{**SHORT, **options})
    (model,) = [model for model in server.get("/api/ps")["models"] if model["name"] == "corral-tiny:latest"]
    assert isinstance(model, dict)
    return model


def _needs_processor(vulkan: dict[str, str]) -> None:
    if "CORRAL_LLAMA_SERVER" in vulkan:
        pytest.skip("the ready-made engine was compiled for a processor with AMX, and dies on others")


def _info(server: Server) -> dict[str, Any]:
    info = server.post("/api/show", {"model": "corral-tiny", "verbose": True})["model_info"]
    assert isinstance(info, dict)
    return info


def _layer_count(server: Server) -> int:
    info = _info(server)
    return int(info[f"{info['general.architecture']}.block_count"])
