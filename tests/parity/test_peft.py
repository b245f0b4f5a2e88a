"""PEFT's own adapters, option by option: the engine gives the logits that PEFT gives, or the adapter is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corral.errors import ConversionError
from corral.weights.convert import convert_adapter, convert_model
from tests.parity.families import DECODERS
from tests.parity.test_decoders import reference_logprobs
from tests.plain_engine import Engine

peft = pytest.importorskip("peft", reason="./dev parity installs what these tests compare with")

# PEFT warns about what it ignores, and about what transformers will drop.
pytestmark = pytest.mark.filterwarnings("ignore")

TOKENS = [1, 45, 67, 300, 5, 5, 412]
Q, ALL = ["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BASE: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": ALL}

# Options, and the family that they are tried on.
RIGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama3.1", {}),
    "alpha 0": ("llama2", {"lora_alpha": 0}),
    "alpha below 0": ("llama2", {"lora_alpha": -4}),
    "rslora": ("llama2", {"use_rslora": True}),
    "alpha pattern": ("llama2", {"alpha_pattern": {"q_proj": 12, "mlp.up_proj": 1}}),
    "rank pattern": ("llama2", {"rank_pattern": {"q_proj": 2, "down_proj": 8}}),
    "rslora, rank pattern": ("llama2", {"use_rslora": True, "rank_pattern": {"q_proj": 2, "down_proj": 8}}),
    "rslora, both patterns": (
        "llama2",
        {
            "use_rslora": True,
            "rank_pattern": {"q_proj": 2, "down_proj": 8},
            "alpha_pattern": {"q_proj": 3, "k_proj": 20},
        },
    ),
    "patterns as expressions": (
        "llama2",
        {"alpha_pattern": {r"^model\.layers\.1\..*": 16, r"layers\.[02]\.self_attn\.(q|k)_proj": 2}},
    ),
    "pattern of one layer": ("llama2", {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 30}}),
    "fan_in_fan_out": ("llama2", {"fan_in_fan_out": True}),
    "bias without biases": ("llama2", {"bias": "all"}),
    "targets by expression": (
        "llama2",
        {"target_modules": r".*layers\.[01]\.(self_attn\.(q|v)_proj|mlp\.(gate|up|down)_proj)"},
    ),
    "all linear": ("llama2", {"target_modules": "all-linear"}),
    "layers to transform": ("llama2", {"layers_to_transform": [0, 2]}),
    "excluded modules": ("llama2", {"exclude_modules": ["q_proj", "layers.1.mlp.up_proj"]}),
    "head": ("llama2", {"target_modules": [*Q, "lm_head"]}),
    "embedding": ("llama2", {"target_modules": [*Q, "embed_tokens"]}),
    "embedding, rslora": ("llama2", {"target_modules": [*Q, "embed_tokens"], "use_rslora": True}),
    "embedding alone": ("llama2", {"target_modules": ["embed_tokens", "lm_head"]}),
    "saved head": ("llama2", {"target_modules": Q, "modules_to_save": ["lm_head"]}),
    "saved head and embedding": ("llama2", {"modules_to_save": ["lm_head", "embed_tokens"]}),
    "saved projection": ("llama2", {"target_modules": Q, "modules_to_save": ["k_proj", "down_proj"]}),
    "gaussian": ("llama2", {"init_lora_weights": "gaussian"}),
    "orthogonal": ("llama2", {"init_lora_weights": "orthogonal"}),
    "mica": ("llama2", {"init_lora_weights": "mica"}),
    "eva": ("llama2", {"init_lora_weights": False}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"use_rslora": True, "rank_pattern": {"q_proj": 2}}),
    "gemma2": ("gemma2", {"alpha_pattern": {"q_proj": 20}}),
    "gemma3": ("gemma3", {}),
    "phi3": (
        "phi3",
        {
            "target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
            "alpha_pattern": {"qkv_proj": 20},
        },
    ),
    "granite": ("granite", {}),
    "olmo2": ("olmo2", {}),
    "stablelm": ("stablelm2", {}),
    "command-r": ("command-r", {}),
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "dora": ("llama2", {"use_dora": True}, "use_dora"),
    "trained biases": ("qwen2", {"bias": "all"}, "trained biases"),
    "trained biases of targets": ("qwen2", {"bias": "lora_only"}, "trained biases"),
    "bias of the matrices": ("qwen2", {"target_modules": Q, "lora_bias": True}, "lora_bias"),
    "pissa": ("llama2", {"init_lora_weights": "pissa"}, "init_lora_weights"),
    "pissa, quick": ("llama2", {"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
    "olora": ("llama2", {"init_lora_weights": "olora"}, "init_lora_weights"),
    "saved norm": ("llama2", {"modules_to_save": ["norm"]}, "not a matrix"),
    "rows of the embedding": (
        "llama2",
        {"trainable_token_indices": {"embed_tokens": [3, 4]}},
        "trainable_token_indices",
    ),
    "head that is the embedding": (
        "gemma2",
        {"target_modules": [*Q, "embed_tokens"]},
        "uses it for its output too",
    ),
    "repeated layers": ("llama2", {"layer_replication": [[0, 2], [1, 3]]}, "layer_replication"),
    "from a token on": ("llama2", {"alora_invocation_tokens": [5, 5]}, "alora_invocation_tokens"),
    "router": ("mixtral", {"target_parameters": ["mlp.experts.gate_up_proj"]}, "base model has no weights"),
}


def adapted(model: Any, folder: Path, options: dict[str, Any]) -> Any:
    """The model with a trained adapter, which is saved to the folder."""
    config = peft.LoraConfig(**{**BASE, **options}, task_type="CAUSAL_LM")
    adapted_model = peft.get_peft_model(model, config)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, values in adapted_model.named_parameters():
            if "lora_" in name:
                values.copy_(torch.randn_like(values) * (0.2 if "embedding" in name else 0.1))
            elif values.requires_grad:
                values.add_(torch.randn_like(values) * 0.05)
    adapted_model.save_pretrained(folder)
    return adapted_model.eval()


def prepared(tmp_path: Path, family: str, options: dict[str, Any]) -> tuple[Path, Path, Any, Any]:
    """Base as GGUF, folder of the adapter, the base's log-probabilities and the adapted ones."""
    folder, adapter = tmp_path / "base", tmp_path / "adapter"
    model = DECODERS[family].save(folder)
    base = tmp_path / "base.gguf"
    convert_model(DECODERS[family].files(folder), base, keep_float32=True)
    before = reference_logprobs(model, TOKENS)
    return base, adapter, before, reference_logprobs(adapted(model, adapter, options), TOKENS)


@pytest.mark.parametrize("name", RIGHT)
def test_right_logits(tmp_path: Path, name: str) -> None:
    """Log-probabilities within 0.01 of PEFT's."""
    family, options = RIGHT[name]
    base, adapter, before, expected = prepared(tmp_path, family, options)
    converted = tmp_path / "adapter.gguf"
    convert_adapter({file.name: file for file in adapter.iterdir() if file.is_file()}, base, converted)
    with Engine(base, adapter_paths=(converted,)) as engine:
        found = engine.logprobs(TOKENS, len(expected))
    worst = np.abs(found - expected).max()
    print(f"{name}: {worst:.5f} from PEFT, base {np.abs(before - expected).max():.3f}")
    assert worst < 0.01
    assert options.get("lora_alpha") == 0 or np.abs(before - expected).max() > 0.05


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    """What cannot be right is refused, and the error names it."""
    family, options, words = REFUSED[name]
    base, adapter, _, _ = prepared(tmp_path, family, options)
    files = {file.name: file for file in adapter.iterdir() if file.is_file()}
    with pytest.raises(ConversionError, match=words):
        convert_adapter(files, base, tmp_path / "adapter.gguf")
