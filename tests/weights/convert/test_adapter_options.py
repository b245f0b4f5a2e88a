"""How strongly an adapter changes a module, and which adapters are refused: by the configuration alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from corral.errors import ConversionError
from corral.weights.convert.adapter_options import AdapterOptions
from corral.weights.convert.config import Config

Q0, UP1 = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"


def options(**values: Any) -> AdapterOptions:
    return AdapterOptions(Config({"r": 4, "lora_alpha": 6, **values}, "adapter_config.json"))


@pytest.mark.parametrize(
    ("values", "module", "rank", "scale"),
    [
        ({}, Q0, 4, 6 / 4),
        ({"lora_alpha": 0}, Q0, 4, 0),
        ({"use_rslora": True}, Q0, 4, 6 / 2),
        ({"rank_pattern": {"q_proj": 9}, "use_rslora": True}, Q0, 9, 6 / 3),
        ({"alpha_pattern": {"q_proj": 12}}, Q0, 4, 12 / 4),
        ({"alpha_pattern": {"q_proj": 12}}, UP1, 4, 6 / 4),
        ({"alpha_pattern": {"layers.1.mlp.up_proj": 12}}, UP1, 4, 12 / 4),
        ({"alpha_pattern": {"proj": 12}}, Q0, 4, 6 / 4),  # whole parts of a name only
        ({"alpha_pattern": {r"^model\.layers\.1\..*": 12, "up_proj": 1}}, UP1, 4, 12 / 4),  # the first one
        ({"lora_alpha": None, "lora_parameters": {"rank": 8, "scale": 20.0}}, Q0, 8, 20),
        ({"lora_parameters": {"rank": 8, "alpha": 16, "scale": 10.0}}, Q0, 8, 20),
        ({"lora_parameters": {"rank": 8, "alpha": 16}}, Q0, 8, 2),
    ],
)
def test_scale(values: dict[str, Any], module: str, rank: int, scale: float) -> None:
    """PEFT: alpha by the rank or its root, with the first pattern that fits; MLX: what it says."""
    assert math.isclose(options(**values).scale(module, rank), scale)


def test_a_rank_that_is_another() -> None:
    """Matrices that do not fit the pattern are from another training."""
    with pytest.raises(ConversionError, match="rank_pattern gives"):
        options(rank_pattern={"q_proj": 2}).scale(Q0, 4)


@pytest.mark.parametrize(
    "values",
    [
        {"use_dora": True},
        {"use_something_new": True},
        {"init_lora_weights": "pissa_niter_16"},
        {"init_lora_weights": "LoftQ"},
        {"layer_replication": [[0, 2]]},
        {"peft_type": "LOHA"},
        {"fine_tune_type": "dora"},
        {"lora_bias": True},
        {"alpha_pattern": {"(a+)+$": 1}},
        {"alpha_pattern": {".*.*.*.*.*x": 1}},
        {"rank_pattern": {"(": 1}},
        {"alpha_pattern": {"q_proj": "much"}},
    ],
)
def test_refused(values: dict[str, Any]) -> None:
    """Variants that the engine does not have, and patterns that are not any or would take for ever."""
    with pytest.raises(ConversionError, match=r"adapter_config\.json"):
        options(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "eva"},
        {"init_lora_weights": True},
        {"fan_in_fan_out": True},
        {"bias": "lora_only"},
        {"use_rslora": False, "use_dora": False, "megatron_core": "megatron.core"},
        {"target_modules": ".*", "exclude_modules": ["a"], "layers_to_transform": [1], "loftq_config": {}},
    ],
)
def test_what_changes_nothing(values: dict[str, Any]) -> None:
    """Options of the training, and those whose effect is in the tensors."""
    assert options(**values).scale(Q0, 4) == 6 / 4
