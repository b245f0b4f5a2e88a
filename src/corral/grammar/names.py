"""Members of an object that `properties` does not name: what their names and values may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corral.grammar.merge import constraints

__all__ = ["is_impossible", "other_members"]


def is_impossible(schema: Any) -> bool:
    """Whether a schema is one of the two plain ways to say that nothing is allowed: false, or not anything."""
    return schema is False or (isinstance(schema, Mapping) and schema.get("not") in ({}, True))


def other_members(schema: Mapping[str, Any], names: Sequence[str], additional: Any) -> tuple[Any, Any] | None:
    """A schema for the names (None: all but `names`) and one for the values of further members; None: there are none.

    Of what is allowed a part may be left out: beside `patternProperties` only names that fit a pattern are written.

    Raises:
        ValueError: what no grammar can ensure.
    """
    patterns = schema.get("patternProperties") or {}
    rule = schema.get("propertyNames", True)
    is_free = rule is True or (isinstance(rule, Mapping) and constraints(rule) in ({}, {"type": "string"}))
    if not isinstance(patterns, Mapping):
        raise ValueError("'patternProperties' must be an object")
    if patterns:
        values = list(patterns.values())
        if names or not is_free or any(value != values[0] or is_impossible(value) for value in values):
            raise ValueError(
                "'patternProperties' is supported alone, with one schema for its values, not beside named "
                "properties, 'required' or 'propertyNames'"
            )
        return {"anyOf": [{"type": "string", "pattern": pattern} for pattern in patterns]}, values[0]
    if is_free:
        return None if additional is False else (None, additional)
    if not isinstance(rule, Mapping):
        raise ValueError("'propertyNames' must be a schema that allows something")
    if not names:
        return None if additional is False else ({"type": "string", "allOf": [rule]}, additional)
    allowed = rule.get("enum")
    if not isinstance(allowed, list) or constraints(rule).keys() - {"enum", "type"}:
        raise ValueError("'propertyNames' beside named properties is supported as an 'enum' only")
    if unknown := [name for name in names if name not in allowed]:
        raise ValueError(f"'propertyNames' does not allow the property {unknown[0]!r}")
    left = [name for name in allowed if name not in names]
    return ({**rule, "enum": left}, additional) if left and additional is not False else None
