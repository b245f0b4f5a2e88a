"""Arguments as Gemma's function calling writes them: bare names in sorted order, strings between delimiter tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.chat.rendering import jsontext

_INT64_LIMIT = 2.0**63


def format_number(value: float) -> str:
    """A number: without exponent when it is whole and fits 64 bits."""
    try:
        number = float(value)
    except OverflowError:
        return jsontext.format_float(value)
    if number.is_integer() and -_INT64_LIMIT <= number < _INT64_LIMIT:
        return str(int(number))
    return jsontext.format_float(number)


def format_arguments(arguments: Mapping[str, Any], delimiter: str, null: str) -> str:
    """All arguments of a call between braces."""
    return format_value(jsontext.sorted_value(arguments), delimiter, null)


def format_value(value: Any, delimiter: str, null: str) -> str:
    """A value whose objects are sorted already. `delimiter` stands around strings, `null` for nothing."""
    if value is None:
        return null
    if isinstance(value, str):
        return f"{delimiter}{value}{delimiter}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{format_value(v, delimiter, null)}' for name, v in value.items())}}}"
    return f"[{','.join(format_value(element, delimiter, null) for element in value)}]"
