"""Schemas combined: allOf, references with keywords beside them, and alternatives that share keywords.

A merged schema allows what all of its parts allow. What cannot be said in one schema is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ANNOTATIONS", "SchemaMergeError", "allows", "constraints", "merge", "resolve"]

ANNOTATIONS = frozenset(
    "title description default example examples deprecated readOnly writeOnly $comment $defs definitions $id $schema "
    "$anchor id discriminator nullable contentMediaType contentEncoding strict name".split()
)
_LARGEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_SMALLEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_MAX_PRODUCT = 64
_MAX_DEPTH = 64
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list,),
}


class SchemaMergeError(ValueError):
    """Two schemas that do not go together in one grammar."""


def constraints(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a schema that say something about values."""
    return {key: value for key, value in schema.items() if key not in ANNOTATIONS}


def resolve(root: Mapping[str, Any], reference: Any) -> Any:
    """What a `$ref` points to.

    Raises:
        SchemaMergeError: it points outside of the schema, or to nothing.
    """
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise SchemaMergeError(f"$ref {reference!r} does not point into the same schema")
    target: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping) and part in target:
            target = target[part]
        elif isinstance(target, list) and part.isdecimal() and int(part) < len(target):
            target = target[int(part)]
        else:
            raise SchemaMergeError(f"$ref {reference!r} points to nothing")
    return target


def merge(root: Mapping[str, Any], parts: list[Any], depth: int = 0) -> Any:
    """One schema for all `parts`, their references followed; False when they exclude each other.

    Raises:
        SchemaMergeError
    """
    if depth > _MAX_DEPTH:
        raise SchemaMergeError("allOf and $ref go around in a circle")
    merged: dict[str, Any] = {}
    for part in parts:
        part = _flat(root, part, depth)
        if part is False:
            return False
        for key, value in part.items():
            if key in ANNOTATIONS:
                continue
            if key not in merged:
                merged[key] = value
            elif merged[key] != value:
                merged[key] = _combine(key, merged[key], value)
    if {"patternProperties", "additionalProperties"} <= merged.keys() and not any(
        isinstance(part, Mapping) and {"patternProperties", "additionalProperties"} <= part.keys()
        for part in parts
    ):
        raise SchemaMergeError("'patternProperties' and 'additionalProperties' in different parts")
    if _is_contradiction(merged):
        return False
    return merged


def _flat(root: Mapping[str, Any], part: Any, depth: int) -> Any:
    """A schema without `$ref` and `allOf` at its top."""
    if part is True:
        return {}
    if part is False:
        return False
    if not isinstance(part, Mapping):
        raise SchemaMergeError("a part of allOf is no schema")
    inner: list[Any] = []
    rest = constraints(part)
    if "$ref" in rest:
        inner.append(resolve(root, rest.pop("$ref")))
    if "allOf" in rest:
        options = rest.pop("allOf")
        if not isinstance(options, list) or not options:
            raise SchemaMergeError("'allOf' must be a list with at least one schema")
        inner += options
    if not inner:
        return rest
    return merge(root, [*inner, rest], depth + 1)


def _combine(key: str, first: Any, second: Any) -> Any:
    if key == "properties":
        names = dict.fromkeys([*first, *second])
        return {name: _both(first, second, name) for name in names}
    if key == "required":
        return list(dict.fromkeys([*first, *second]))
    if key == "type":
        return _common_types(first, second)
    if key == "enum":
        return [value for value in first if any(_is_same(value, other) for other in second)]
    if key in ("anyOf", "oneOf"):
        if len(first) * len(second) > _MAX_PRODUCT:
            raise SchemaMergeError(f"parts of allOf have too many combinations of {key!r}")
        return [{"allOf": [one, other]} for one in first for other in second]
    if key in ("additionalProperties", "items", "additionalItems"):
        return False if first is False or second is False else {"allOf": [first, second]}
    if key in _LARGEST:
        return max(first, second)
    if key in _SMALLEST:
        return min(first, second)
    if key == "uniqueItems":
        return bool(first or second)
    raise SchemaMergeError(f"the parts of allOf disagree on {key!r}")


def _both(first: Mapping[str, Any], second: Mapping[str, Any], name: str) -> Any:
    schemas = [properties[name] for properties in (first, second) if name in properties]
    return schemas[0] if len(schemas) == 1 or schemas[0] == schemas[1] else {"allOf": schemas}


def _common_types(first: Any, second: Any) -> Any:
    firsts = first if isinstance(first, list) else [first]
    seconds = second if isinstance(second, list) else [second]
    common = [name for name in firsts if name in seconds or (name == "integer" and "number" in seconds)]
    common += [name for name in seconds if name == "integer" and "number" in firsts and name not in common]
    return common[0] if len(common) == 1 else common


def _is_contradiction(merged: Mapping[str, Any]) -> bool:
    return merged.get("type") == [] or merged.get("enum") == []


def _is_same(first: Any, second: Any) -> bool:
    """Equality in JSON: true is not 1."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def allows(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether the keywords beside an `enum` or `const` leave one of its values; those of its parts are not read."""
    if "const" in schema and not _is_same(schema["const"], value):
        return False
    if "enum" in schema and not any(_is_same(option, value) for option in schema["enum"]):
        return False
    kinds = schema.get("type")
    if kinds is not None:
        names = kinds if isinstance(kinds, list) else [kinds]
        if not any(_is_of_type(value, name) for name in names):
            return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _is_in_bounds(schema, value)
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    return True


def _is_of_type(value: Any, name: Any) -> bool:
    if isinstance(value, bool):
        return bool(name == "boolean")
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _JSON_TYPES.get(name, ()))


def _is_in_bounds(schema: Mapping[str, Any], value: float) -> bool:
    return bool(
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    )
