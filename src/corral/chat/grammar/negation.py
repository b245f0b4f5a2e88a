"""What a schema does not allow, as alternatives: for `not`, `if` and `else`.

Three keywords of our own say what JSON Schema has no word for: `$absent` (names that an object does not have),
`$unlike` (values that are excluded) and `$mismatch` (patterns that must not match).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from corral.chat.grammar.meaning import TYPES

ANNOTATIONS = frozenset(
    "title description default example examples deprecated readOnly writeOnly $comment $defs definitions $id $schema "
    "$anchor $dynamicAnchor id discriminator nullable contentMediaType contentEncoding contentSchema strict name "
    "propertyOrdering xml externalDocs $vocabulary".split()
)
_Options = list[Any] | None
_COUNTS = {
    "minLength": ("string", "maxLength", -1),
    "maxLength": ("string", "minLength", 1),
    "minItems": ("array", "maxItems", -1),
    "maxItems": ("array", "minItems", 1),
    "minProperties": ("object", "maxProperties", -1),
    "maxProperties": ("object", "minProperties", 1),
}
_BOUNDS = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}


def negated(schema: Mapping[str, Any]) -> _Options:
    """Schemas of which one holds when a regular `schema` does not; None where that cannot be said.

    An alternative may be left out that could only be said with more words: texts stay valid.
    """
    options: list[Any] = []
    for key, value in schema.items():
        if key in ANNOTATIONS or (key in ("then", "else") and "if" not in schema):
            continue
        negate = _NEGATIONS.get(key)
        if key in _COUNTS:
            kind, other, step = _COUNTS[key]
            options.append({"type": [kind], other: value + step})
        elif key in _BOUNDS:
            options.append({"type": ["number"], _BOUNDS[key]: value})
        elif negate is None or (found := negate(value)) is None:
            return None
        else:
            options += found
    return options


def _type(value: list[str]) -> _Options:
    excluded = {*value} | ({"number"} if "integer" in value else set())
    left = [name for name in TYPES if name not in excluded and not (name == "integer" and "number" in value)]
    return [{"type": left}] if left else []


def _enum(value: list[Any]) -> _Options:
    return [{"$unlike": value}]


def _required(value: list[str]) -> _Options:
    return [{"type": ["object"], "$absent": [name]} for name in value]


def _properties(value: Mapping[str, Any]) -> _Options:
    return [
        {"type": ["object"], "required": [name], "properties": {name: {"not": sub}}, "$open": True}
        for name, sub in value.items()
    ]


def _not(value: Any) -> _Options:
    return [value]


def _any_of(value: list[Any]) -> _Options:
    return [{"allOf": [{"not": option} for option in value]}]


def _all_of(value: list[Any]) -> _Options:
    return [{"not": option} for option in value]


_NEGATIONS: dict[str, Callable[[Any], _Options]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value: [{"$unlike": [value]}],
    "required": _required,
    "properties": _properties,
    "pattern": lambda value: [{"type": ["string"], "$mismatch": [value]}],
    "not": _not,
    "anyOf": _any_of,
    "allOf": _all_of,
    "$unlike": lambda value: [{"enum": value}],
    "$absent": lambda value: [{"type": ["object"], "required": [name]} for name in value],
    "$mismatch": lambda value: [{"type": ["string"], "pattern": pattern} for pattern in value],
}
