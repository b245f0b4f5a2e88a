"""Options of a request: the model's stored parameters under the request's own, checked and typed.

Ollama: api/types.go Options.FromMap. Unknown names are ignored; a wrong type is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from corral.errors import OptionError
from corral.types import LoadOptions, SamplingOptions

__all__ = ["parse_options"]


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise OptionError(f'option "{name}" must be of type integer')
    return int(value)  # toward zero, as Go converts


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f'option "{name}" must be of type float32')
    return float(value)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f'option "{name}" must be of type boolean')
    return value


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise OptionError(f'option "{name}" must be of type array')
    if any(not isinstance(element, str) for element in value):
        raise OptionError(f'option "{name}" must be of an array of strings')
    return tuple(value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "int": _integer,
    "int | None": _integer,
    "float": _number,
    "bool | None": _boolean,
    "tuple[str, ...]": _strings,
}
_LOAD = {field.name: _READERS[str(field.type)] for field in fields(LoadOptions)}
_SAMPLING = {field.name: _READERS[str(field.type)] for field in fields(SamplingOptions)}


def parse_options(
    stored: Mapping[str, Any], requested: Mapping[str, Any] | None
) -> tuple[LoadOptions, SamplingOptions]:
    """Merge stored parameters and request options; the request wins, null keeps what is below.

    Raises:
        OptionError: a value of the wrong type, the stored ones first.
    """
    load: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    for options in (stored, requested or {}):
        for name, value in options.items():
            if value is None:
                continue
            if read := _LOAD.get(name):
                load[name] = read(name, value)
            elif read := _SAMPLING.get(name):
                sampling[name] = read(name, value)
    return LoadOptions(**load), SamplingOptions(**sampling)
