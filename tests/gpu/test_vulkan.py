"""A chat through Corral with all layers on a Vulkan device, which Mesa computes on the processor."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from corral.gpus import EngineDevice
from tests.conftest import Server

QUESTION = {"role": "user", "content": "hello"}
GREEDY = {"temperature": 0, "num_predict": 24, "num_ctx": 512}


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
    chat(vulkan_server, num_gpu=99)
    (model,) = vulkan_server.get("/api/ps")["models"]
    assert model["size_vram"] > 0


def test_the_processor_alone(
    vulkan: dict[str, str], vulkan_server: Server, timed: Callable[[str], list[str]]
) -> None:
    """`num_gpu` 0 leaves nothing on the device."""
    if "CORRAL_LLAMA_SERVER" in vulkan:
        pytest.skip("the ready-made engine was compiled for a processor with AMX, and dies on others")
    vulkan_server.post("/api/generate", {"model": "corral-tiny", "keep_alive": 0})
    before = len(timed("FLASH_ATTN_EXT"))
    assert chat(vulkan_server, num_gpu=0)["done"]
    (model,) = vulkan_server.get("/api/ps")["models"]
    assert model["size_vram"] == 0
    assert len(timed("FLASH_ATTN_EXT")) == before


def test_embeddings(vulkan_server: Server, server: Server) -> None:
    """Another kind of model: its vector points where the processor's does."""
    vulkan_server.create("embed", "embed")
    body = {"model": "embed", "input": "a horse in a meadow"}
    ours, theirs = (one.post("/api/embed", body)["embeddings"][0] for one in (vulkan_server, server))
    assert sum(a * b for a, b in zip(ours, theirs, strict=True)) > 0.999


def _info(server: Server) -> dict[str, Any]:
    info = server.post("/api/show", {"model": "corral-tiny", "verbose": True})["model_info"]
    assert isinstance(info, dict)
    return info


def _layer_count(server: Server) -> int:
    info = _info(server)
    return int(info[f"{info['general.architecture']}.block_count"])
