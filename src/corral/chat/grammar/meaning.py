"""What a schema that is not quite one evidently means: the one home of these rules.

Real clients send `"prop": true`, `"properties": []`, `"required": true` inside a property, types in capitals, and
more. `regular` gives one schema in the form of JSON Schema 2020-12; its inner schemas are left as they came. Grammars
read schemas with it; decoders of tools take what they keep of a schema from the smaller functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")
# Names from other languages and older drafts; `any` asks for nothing.
_OTHER_NAMES = {
    "str": "string",
    "text": "string",
    "char": "string",
    "int": "integer",
    "int32": "integer",
    "int64": "integer",
    "long": "integer",
    "float": "number",
    "float32": "number",
    "float64": "number",
    "double": "number",
    "decimal": "number",
    "num": "number",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "map": "object",
    "struct": "object",
    "none": "null",
    "nil": "null",
    "nonetype": "null",
    "undefined": "null",
}
_ANY = ("any", "mixed", "unknown", "")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_MAX_NUMBER_CHARS = 400


def type_names(value: Any) -> tuple[str, ...] | None:
    """The names in a `type`, as they are written; None when it is neither a name nor a list of names."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(name, str | None) for name in value):
        return tuple("null" if name is None else name for name in value)
    return None


def is_type(name: Any) -> bool:
    """Whether a text names a type, in any spelling."""
    return isinstance(name, str) and (known_type(name) is not None or name.lower() in _ANY)


def known_type(name: str) -> str | None:
    """The type of JSON Schema that a name means; None when it means none of them."""
    lower = name.lower()
    return lower if lower in TYPES else _OTHER_NAMES.get(lower)


def required_names(value: Any) -> tuple[str, ...] | None:
    """The names in a `required`; None when it is not a list of them. A flag belongs to the property that has it."""
    if value is None or isinstance(value, bool) or value == {}:
        return ()
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None


def says_required(schema: Any) -> bool:
    """Whether a property says for itself that it is required, as draft 3 had it."""
    return isinstance(schema, Mapping) and schema.get("required") is True


def members(value: Any) -> Mapping[str, Any] | None:
    """The schemas in a `properties`; a list that is empty, of names or of named schemas will do. None: neither."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list):
        return None
    named: dict[str, Any] = {}
    for entry in value:
        name = entry.get("name") if isinstance(entry, Mapping) else entry
        if not isinstance(name, str):
            return None
        named[name] = entry if isinstance(entry, Mapping) else True
    return named


def schema_of(value: Any) -> Mapping[str, Any] | bool | None:
    """A schema that may be written as a flag, nothing, a type's name, or a list of types; None: none of these."""
    if isinstance(value, bool | Mapping):
        return value
    if value is None or value in ([], ""):
        return True
    if isinstance(value, str):
        return {"type": value} if is_type(value) else {"description": value}
    if isinstance(value, list) and all(map(is_type, value)):
        return {"type": value}
    return None


def regular(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A schema by its evident meaning, and the keywords of it that have none and are left out.

    `type` becomes a list of known types, absent when any will do. Inner schemas stay as they are.
    """
    found: dict[str, Any] = {}
    senseless: list[str] = []
    for key, value in schema.items():
        read = _READERS.get(key)
        if read is None:
            found[key] = value
        elif (meant := read(value)) is _SENSELESS:
            senseless.append(key)
        elif meant is not None:
            found[key] = meant[0]
    _add_flags(schema, found)
    return found, senseless


# None: the keyword asks for nothing. Not a tuple: it has no meaning.
_Meant = Any
_SENSELESS = object()


def _type(value: Any) -> _Meant:
    names = type_names(value)
    if names is None:
        return _SENSELESS
    if any(name.lower() in _ANY for name in names) or not names:
        return None
    known = [known_type(name) for name in names]
    return (list(dict.fromkeys(known)),) if None not in known else _SENSELESS


def _required(value: Any) -> _Meant:
    names = required_names(value)
    if names is None and isinstance(value, list):
        names = tuple(name for name in value if isinstance(name, str))
    return _SENSELESS if names is None else (list(dict.fromkeys(names)),) if names else None


def _members(value: Any) -> _Meant:
    named = members(value)
    return _SENSELESS if named is None else (named,)


def _values(value: Any) -> _Meant:
    if value is None or value == []:
        return None
    return (value if isinstance(value, list) else list(value) if isinstance(value, Mapping) else [value],)


def _schemas(value: Any) -> _Meant:
    if value is None or value == []:
        return None
    return (value,) if isinstance(value, list) else ([value],)


def _schema(value: Any) -> _Meant:
    if value is None:
        return None
    if value in ("true", "false"):
        return (value == "true",)
    return (value,)


def _count(value: Any) -> _Meant:
    number = _number(value)
    if number is _SENSELESS or number is None:
        return number
    count = number[0]
    if isinstance(count, float) and not count.is_integer():
        return _SENSELESS
    return (int(count),)


def _least(value: Any) -> _Meant:
    meant = _count(value)
    return None if isinstance(meant, tuple) and meant[0] <= 0 else meant


def _number(value: Any) -> _Meant:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_CHARS:
        try:
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        except ValueError:
            return _SENSELESS
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return _SENSELESS
    return None if value in (float("inf"), float("-inf")) else (value,)


def _text(value: Any) -> _Meant:
    if value is None or value == "":
        return None
    return (value,) if isinstance(value, str) else _SENSELESS


def _flag_or_number(value: Any) -> _Meant:
    return (value,) if isinstance(value, bool) else _number(value)


_READERS: dict[str, Any] = {
    "type": _type,
    "required": _required,
    "properties": _members,
    "patternProperties": _members,
    "enum": _values,
    "pattern": lambda value: (value,) if value == "" else _text(value),
    "format": _text,
    "items": _schema,
    "additionalProperties": _schema,
    "multipleOf": _number,
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _flag_or_number,
    "exclusiveMaximum": _flag_or_number,
    **dict.fromkeys(_LISTS_OF_SCHEMAS, _schemas),
    **{key: _least if key.startswith("min") else _count for key in _COUNTS},
}


def _add_flags(schema: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Forms of older drafts and of OpenAPI in those of today."""
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(flag), bool) and found.pop(flag) and bound in found:  # draft 4
            found[flag] = found.pop(bound)
    if isinstance(found.get("items"), list):  # before 2020-12
        prefix = found.pop("items")
        if prefix:
            found["prefixItems"] = prefix
            found["items"] = schema.get("additionalItems", True)
    properties = found.get("properties")
    if properties and (said := [name for name, inner in properties.items() if says_required(inner)]):
        found["required"] = list(dict.fromkeys([*found.get("required", ()), *said]))  # draft 3
    if schema.get("nullable") is True:  # OpenAPI 3.0
        if "type" in found and "null" not in found["type"]:
            found["type"] = [*found["type"], "null"]
        if "enum" in found and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
