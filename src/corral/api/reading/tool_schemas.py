"""Decodes the tools of a request, on every surface: each schema whole, and common slips by their evident meaning.

Members of a schema without a field in our types are kept as they were sent. Ollama drops them, and answers 400 to
some of the slips: a schema that is `true`, an empty list where an object belongs (an empty map, as PHP writes it),
a list as the type of the parameters, `required: true` inside a property (JSON Schema draft 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from corral.api.reading.decode import (
    Decode,
    Decoding,
    any_value,
    decode_members,
    members_of,
    string,
    strings,
)
from corral.api.reading.jsonread import JSONObject, clean_text, kind_of, plain
from corral.chat.grammar.meaning import is_type, required_names, type_names
from corral.errors import InvalidRequestError
from corral.types import Tool, ToolFunction, ToolParameters, ToolProperty

_OPEN_OBJECT = "Value looks like object, but can't find closing '}' symbol"


def named_tools(given: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools, if a model could call each of them.

    Raises:
        InvalidRequestError: one has no name.
    """
    for i, tool in enumerate(given):
        if not tool.function.name:
            raise InvalidRequestError(
                f'tools[{i}] has no name; a tool is {{"type": "function", "function": {{"name": ...}}}} in a chat'
                ' completion, and has its "name" at the top in a response or a message'
            )
    return tuple(given)


def tools(decoding: Decoding, value: Any, path: str, _text: str) -> tuple[Tool, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "api.Tools")
        return None
    decoded = []
    for element in value:
        if isinstance(element, JSONObject):
            fields = {"type": string, "items": any_value, "function": _tool_function}
            decoded.append(Tool(**decode_members(decoding, members_of(element), fields, path + ".")))
        elif element is None:
            decoded.append(Tool())
        else:
            decoding.mismatch(element, path, "api.Tool")
    return tuple(decoded)


def _tool_function(decoding: Decoding, value: Any, path: str, _text: str) -> ToolFunction | None:
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "api.ToolFunction")
        return None
    inner = Decoding("ToolFunction")
    fields: dict[str, Decode] = {
        "name": string,
        "description": string,
        "parameters": tool_parameters,
        "strict": any_value,
    }
    values = decode_members(inner, members_of(value), fields, path + ".")
    decoding.soft_error = decoding.soft_error or inner.soft_error
    is_strict = values.pop("strict", None) is True
    return ToolFunction(**values, is_strict=is_strict)


def tool_parameters(decoding: Decoding, value: Any, path: str, _text: str) -> ToolParameters | None:
    """The schema of a tool's arguments; a boolean or an empty list stands for one that says nothing."""
    if isinstance(value, bool) or value == []:
        return ToolParameters()
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "api.ToolFunctionParameters")
        return None
    inner = Decoding("ToolFunctionParameters")
    values = decode_members(inner, members_of(value), _PARAMETERS_FIELDS, path + ".")
    decoding.soft_error = decoding.soft_error or inner.soft_error
    if "$defs" in values:
        values["defs"] = values.pop("$defs")
    return ToolParameters(**_with_required(values), others=_others(value, _PARAMETERS_FIELDS))


def _with_required(values: dict[str, Any]) -> dict[str, Any]:
    """The properties of a schema, parted from the names that say of themselves that they are required."""
    if "properties" in values:
        values["properties"], required = values["properties"]
        named = values.get("required", ())
        values["required"] = (*named, *(name for name in required if name not in named))
    return values


def _others(value: JSONObject, fields: Mapping[str, Decode]) -> dict[str, Any]:
    return {
        clean_text(name): plain(member)
        for name, member in value
        if name not in fields and name.casefold() not in fields
    }


def _root_type(decoding: Decoding, value: Any, path: str, text: str) -> str | None:
    """The type of the parameters: a list of types means its object."""
    if isinstance(value, list) and "object" in value:
        return "object"
    if isinstance(value, list) and (names := type_names(plain(value))):
        return names[0]
    return string(decoding, value, path, text)


def _required(decoding: Decoding, value: Any, path: str, text: str) -> tuple[str, ...] | None:
    if isinstance(value, bool):  # about the property itself: see `_is_required`
        return None
    if isinstance(value, str | JSONObject) and (names := required_names(plain(value))) is not None:
        return names
    decoded = strings(decoding, value, path, text)
    return None if decoded is None else tuple(decoded)


_Properties = tuple[dict[str, ToolProperty], list[str]]


def _properties(_decoding: Decoding, value: Any, path: str, _text: str) -> _Properties:
    """The properties by name, and the names of those that hold `required: true`."""
    if value == []:
        value = JSONObject()
    if not isinstance(value, JSONObject):
        raise InvalidRequestError(_OPEN_OBJECT)
    # `false` is a property that may not be there.
    given = [(clean_text(name), member) for name, member in value if member is not False]
    return (
        {name: _property(member, path) for name, member in given},
        [name for name, member in given if _is_required(member)],
    )


def _is_required(value: Any) -> bool:
    return isinstance(value, JSONObject) and any(
        member is True and name.casefold() == "required" for name, member in value
    )


def _property(value: Any, path: str) -> ToolProperty:
    if value is None or value is True or value == []:
        return ToolProperty()
    if is_type(value) or (
        isinstance(value, list) and not isinstance(value, JSONObject) and all(map(is_type, value))
    ):
        return ToolProperty(types=type_names(value) or ())
    if not isinstance(value, JSONObject):
        _mismatch_now(value, path, "api.ToolProperty")
    decoding = Decoding("ToolProperty")
    values = decode_members(decoding, members_of(value), _PROPERTY_FIELDS, "")
    if decoding.soft_error is not None:
        raise InvalidRequestError(decoding.soft_error)
    if "anyof" in values:
        values["any_of"] = values.pop("anyof")
    if "type" in values:
        values["types"] = values.pop("type")
    return ToolProperty(**_with_required(values), others=_others(value, _PROPERTY_FIELDS))


def _mismatch_now(value: Any, path: str, go_type: str) -> NoReturn:
    raise InvalidRequestError(
        f"json: cannot unmarshal {kind_of(value)} into Go struct field {path} of type {go_type}"
    )


def _any_of(_decoding: Decoding, value: Any, path: str, _text: str) -> tuple[ToolProperty, ...]:
    if isinstance(value, JSONObject):
        return (_property(value, path),)
    if not isinstance(value, list):
        _mismatch_now(value, path, "[]api.ToolProperty")
    return tuple(_property(element, path) for element in value if element is not False)


def _property_type(_decoding: Decoding, value: Any, path: str, _text: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (clean_text(value),)
    names = (
        type_names(plain(value)) if isinstance(value, list) and not isinstance(value, JSONObject) else None
    )
    if names is None:
        _mismatch_now(value, path, "api.PropertyType")
    return names


def _values(decoding: Decoding, value: Any, path: str, _text: str) -> tuple[Any, ...] | None:
    if isinstance(value, str):
        return (clean_text(value),)
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]interface {}")
        return None
    return tuple(plain(element) for element in value)


_PARAMETERS_FIELDS: dict[str, Decode] = {
    "type": _root_type,
    "$defs": any_value,
    "items": any_value,
    "required": _required,
    "properties": _properties,
}
_PROPERTY_FIELDS: dict[str, Decode] = {
    "anyof": _any_of,
    "type": _property_type,
    "items": any_value,
    "description": string,
    "enum": _values,
    "properties": _properties,
    "required": _required,
}
