"""JSON that must be the arguments of a call. Ollama: api/types.go, ToolCallFunctionArguments."""

from __future__ import annotations

from typing import Any

from corral.parsers.gojson import parse_json

__all__ = ["parse_arguments"]


def parse_arguments(text: str) -> dict[str, Any]:
    """Return the object in `text`; `null` is none.

    Raises:
        ValueError: no JSON, or no object; with Go's text.
    """
    value = parse_json(text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("Value looks like object, but can't find closing '}' symbol")
    return value
