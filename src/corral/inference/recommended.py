"""Sampling that a model file recommends: what counts where neither the model's parameters nor a request say anything.

llama.cpp: common/common.cpp, values of `general.sampling.*`.
"""

from __future__ import annotations

from typing import Any

from corral.errors import CorralError
from corral.inference.options import parse_options
from corral.weights.gguf import GGUFFile

_NAMES = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
}


def recommended_parameters(gguf: GGUFFile | None) -> dict[str, Any]:
    """By the names of options; values that no request could have are left out."""
    found: dict[str, Any] = {}
    for key, name in _NAMES.items():
        value = gguf.metadata.get(f"general.sampling.{key}") if gguf else None
        if value is None:
            continue
        try:
            parse_options({}, {name: value})
        except CorralError:
            continue
        found[name] = value
    return found
