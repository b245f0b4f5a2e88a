"""Writes values as TOML."""

from __future__ import annotations

from collections.abc import Mapping

from corral.configfile.problems import shown_key, toml_string


def toml_value(value: object) -> str:
    """A value on one line; tables become inline tables.

    Raises:
        TypeError: TOML does not have such a value.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{shown_key(str(key))} = {toml_value(part)}" for key, part in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def toml_header(*keys: str) -> str:
    return f"[{'.'.join(map(shown_key, keys))}]"
