"""LoRA adapters: the engine with base and adapter is the model whose weights were merged by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from corral.weights.convert import convert_adapter, convert_model
from tests.parity.families import DECODERS
from tests.parity.test_decoders import reference_logprobs
from tests.plain_engine import Engine

TOKENS = [1, 45, 67, 300, 5, 5, 412]
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj")
RANK, ALPHA = 4, 6.0


def train(model: Any, folder: Path, *, is_mlx: bool, scale: float) -> None:
    """Write an adapter with random matrices, and merge it into the model."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, module in model.named_modules():
        if name.rpartition(".")[2] not in TARGETS:
            continue
        a = torch.randn(RANK, module.in_features, generator=generator) * 0.1
        b = torch.randn(module.out_features, RANK, generator=generator) * 0.1
        if is_mlx:
            tensors[f"{name}.lora_a"] = a.T.contiguous()
            tensors[f"{name}.lora_b"] = b.T.contiguous()
        else:
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
        with torch.no_grad():
            module.weight.add_(scale * b @ a)
    assert tensors
    save_file(tensors, folder / ("adapters.safetensors" if is_mlx else "adapter_model.safetensors"))


@pytest.mark.parametrize(
    ("family", "settings", "is_mlx"),
    [
        ("llama3.1", {}, False),
        ("llama2", {"use_rslora": True}, False),
        ("llama2", {}, True),
        ("gemma2", {}, False),
        ("qwen3", {}, False),
        ("phi3", {}, False),
    ],
)
def test_adapter(tmp_path: Path, family: str, settings: dict[str, Any], is_mlx: bool) -> None:
    """Log-probabilities within 0.01 of the merged model's, and far from the base's."""
    folder, adapter = tmp_path / "base", tmp_path / "adapter"
    adapter.mkdir()
    model = DECODERS[family].save(folder)
    base, converted = tmp_path / "base.gguf", tmp_path / "adapter.gguf"
    convert_model(DECODERS[family].files(folder), base, keep_float32=True)
    before = reference_logprobs(model, TOKENS)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", **settings}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    scale = ALPHA / RANK**0.5 if settings else ALPHA / RANK
    train(model, adapter, is_mlx=is_mlx, scale=scale)
    convert_adapter({file.name: file for file in adapter.iterdir()}, base, converted)
    expected = reference_logprobs(model, TOKENS)
    with Engine(base, adapter_paths=(converted,)) as engine:
        found = engine.logprobs(TOKENS, len(expected))
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(before - expected).max() > 0.5
