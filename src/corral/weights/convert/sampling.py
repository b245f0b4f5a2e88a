"""The authors' sampling settings (generation_config.json), stored in the file as llama.cpp's converter does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from corral.weights.convert.output import Output

_NAMES = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
_MAX_COUNT = 2**31 - 1


def write_sampling(generation: Mapping[str, Any], out: Output) -> None:
    """Invalid values are left out, and all of them if the authors do not sample (`do_sample`)."""
    if generation.get("do_sample") is not True:
        return
    for name, key in _NAMES.items():
        value = generation.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_COUNT:
            continue
        if name == "top_k":
            out.set_int(f"general.sampling.{key}", int(value))
        elif math.isfinite(value):
            out.set_float(f"general.sampling.{key}", float(value))
