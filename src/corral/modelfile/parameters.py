"""PARAMETER lines as typed values. Ollama: api/types.go, FormatParams."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from corral.golang.json import shorten_float32
from corral.modelfile.reader import Directive, ModelfileError

_INTEGERS = frozenset(
    "num_keep seed num_predict top_k repeat_last_n num_ctx num_batch num_gpu main_gpu num_thread"
    " draft_num_predict".split()
)
_FLOATS = frozenset(
    "top_p min_p typical_p temperature repeat_penalty presence_penalty frequency_penalty".split()
)
_BOOLS = frozenset({"use_mmap", "speculation"})
_LISTS = frozenset({"stop"})
DEPRECATED_PARAMETERS = frozenset(
    "penalize_newline low_vram f16_kv logits_all vocab_only use_mlock mirostat mirostat_tau mirostat_eta".split()
)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
_MAX_FLOAT32 = 3.4028235677973366e38


def is_integer_parameter(name: str) -> bool:
    return name in _INTEGERS


def is_float_parameter(name: str) -> bool:
    return name in _FLOATS


def parse_parameters(directives: Iterable[Directive]) -> tuple[dict[str, Any], list[str]]:
    """PARAMETER lines as typed values, and the names of deprecated ones that were dropped.

    Raises:
        ModelfileError: an unknown name, or a value of the wrong type.
    """
    parameters: dict[str, Any] = {}
    deprecated: list[str] = []
    for directive in directives:
        if directive.name != "parameter":
            continue
        name, value = directive.key, directive.value
        if name in DEPRECATED_PARAMETERS:
            deprecated.append(name)
        elif name in _LISTS:
            parameters.setdefault(name, []).append(value)
        else:
            parameters[name] = _typed(name, value, directive.line)
    return parameters, deprecated


def _typed(name: str, value: str, line: int) -> int | float | bool:
    if name in _INTEGERS:
        number = int(value) if _INTEGER.fullmatch(value) else 1 << 63
        if not -(1 << 63) <= number < 1 << 63:
            raise ModelfileError(f"invalid int value [{value}]", line=line)
        return number
    if name in _FLOATS:
        fraction = float(value) if _FLOAT.fullmatch(value) else math.inf
        if abs(fraction) >= _MAX_FLOAT32:
            raise ModelfileError(f"invalid float value [{value}]", line=line)
        return shorten_float32(fraction)
    if name in _BOOLS:
        if value not in _TRUE + _FALSE:
            raise ModelfileError(f"invalid bool value [{value}]", line=line)
        return value in _TRUE
    raise ModelfileError(f"unknown parameter '{name}'", line=line)
