"""Values that a model wrote as bare text, typed by the tool's schema. Ollama: model/parsers/qwen3coder.go."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from corral.chat.grammar.meaning import known_type
from corral.chat.parsing.values import parse_value
from corral.chat.toolschema import resolved_property
from corral.types import Tool, ToolProperty

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)


def find_tool(tools: Iterable[Tool], name: str) -> Tool | None:
    return next((tool for tool in tools if tool.function.name == name), None)


def coerce_parameter(raw: str, tool: Tool | None, parameter: str, *, strips_lines: bool = True) -> Any:
    """The value of a parameter as its tool's schema types it; `tool` None: not declared."""
    found = None if tool is None else resolved_property(tool.function.parameters, parameter)
    if found is None:
        return coerce(raw, (), strips_lines=strips_lines)
    return coerce(raw, declared_types(found), found.enum, strips_lines=strips_lines)


def declared_types(found: ToolProperty) -> tuple[str, ...]:
    """The types that a schema allows, those of all branches of an `anyOf`."""
    if found.any_of:
        return tuple(name for branch in found.any_of for name in declared_types(branch))
    return tuple(known_type(name) or name for name in found.types)


def coerce(raw: str, types: Sequence[str], enum: Sequence[Any] = (), *, strips_lines: bool = True) -> Any:
    """Return the value that `raw` is by the declared types, in a fixed order; the text itself if none fits.

    `strips_lines`: one line break at either end does not belong to the value. `null` is null whatever is declared,
    unless it is the text of an `enum`.
    """
    if strips_lines:
        raw = raw.removeprefix("\n").removesuffix("\n")
    for value in enum:
        if _is_written(value, raw):
            return value
    lowered = raw.lower()
    if lowered == "null":
        return None
    if "boolean" in types:
        if lowered in ("true", "false"):
            return lowered == "true"
        if len(types) == 1:
            return False
    if "integer" in types and (whole := _whole(raw)) is not None:
        return whole
    if "number" in types and (number := _number(raw)) is not None:
        return int(number) if number.is_integer() and int(number) in _INT64 else number
    for name, kind in (("array", list), ("object", dict)):
        if name in types and isinstance(value := _value_or_none(raw), kind):
            return value
    return raw


def _is_written(value: Any, raw: str) -> bool:
    """Whether `raw` is how a model writes a value of an `enum`."""
    if isinstance(value, str):
        return value == raw
    if isinstance(value, bool):
        return raw.lower() == ("true" if value else "false")
    return isinstance(value, int | float) and _number(raw) == value


def _whole(raw: str) -> int | None:
    """A whole number of 64 bits, `5.0` among them."""
    if _INTEGER.fullmatch(raw):
        number = int(raw)
    elif (found := _number(raw)) is not None and found.is_integer():
        number = int(found)
    else:
        return None
    return number if number in _INT64 else None


def _number(raw: str) -> float | None:
    return number if _NUMBER.fullmatch(raw) and math.isfinite(number := float(raw)) else None


def _value_or_none(raw: str) -> Any:
    try:
        return parse_value(raw, is_complete=False)
    except ValueError:
        return None
