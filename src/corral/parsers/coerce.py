"""Values that a model wrote as bare text, typed by the tool's schema. Ollama: model/parsers/qwen3coder.go."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from corral.parsers.gojson import parse_json
from corral.types import Tool, ToolProperty

__all__ = ["coerce", "declared_types", "find_tool"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_INT64 = range(-(1 << 63), 1 << 63)


def find_tool(tools: Iterable[Tool], name: str) -> Tool | None:
    return next((tool for tool in tools if tool.function.name == name), None)


def declared_types(tool: Tool | None, parameter: str) -> tuple[str, ...]:
    """The types that a tool's schema gives a parameter, those of all branches of an `anyOf`; () if unknown."""
    found: ToolProperty | None = None
    if tool is not None and tool.function.parameters.properties is not None:
        found = tool.function.parameters.properties.get(parameter)
    if found is None:
        return ()
    if found.any_of:
        return tuple(name for branch in found.any_of for name in branch.types)
    return found.types


def coerce(raw: str, types: Sequence[str], *, strips_lines: bool = True) -> Any:
    """Return the value that `raw` is by the declared types, in a fixed order; the text itself if none fits.

    `strips_lines`: one line break at either end does not belong to the value. `null` is null whatever is declared.
    """
    if strips_lines:
        raw = raw.removeprefix("\n").removesuffix("\n")
    lowered = raw.lower()
    if lowered == "null":
        return None
    if "boolean" in types:
        if lowered in ("true", "false"):
            return lowered == "true"
        if len(types) == 1:
            return False
    if "integer" in types and _INTEGER.fullmatch(raw) and int(raw) in _INT64:
        return int(raw)
    if "number" in types and _NUMBER.fullmatch(raw) and math.isfinite(number := float(raw)):
        return int(number) if number.is_integer() and int(number) in _INT64 else number
    for name, kind in (("array", list), ("object", dict)):
        if name in types and isinstance(value := _json_or_none(raw), kind):
            return value
    return raw


def _json_or_none(raw: str) -> Any:
    try:
        return parse_json(raw)
    except ValueError:
        return None
