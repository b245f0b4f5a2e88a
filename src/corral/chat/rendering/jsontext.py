"""JSON and printed values as the prompt formats of built-in renderers hold them.

Two layers: `tool_object`, `function_object` and `arguments_object` lay a value out in the member order that models
saw in training (fields in declaration order, then the members of a schema that have no field, properties and
arguments as the client sent them, everything below that sorted); `format_json` writes such a value, compact or with
a space after each `:` and `,`. `format_value` is the form that Go prints a plain value in. Numbers are 64-bit floats
throughout: a larger integer loses its last digits. The first layer refuses what is nested deeper than `MAX_DEPTH`,
so the second need not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from corral.errors import TemplateError
from corral.golang import json as gowire
from corral.types import Tool, ToolFunction, ToolProperty

MAX_DEPTH = 128  # of JSON; a property in a property is two deeper

_EXACT_INTEGER = 2**53


class _Properties(dict[str, Any]):
    """Properties of a schema: Go writes them with their own encoder, which escapes `<`, `>` and `&` always."""


def check_depth(depth: int) -> None:
    """Raise TemplateError at a depth that no honest client reaches."""
    if depth > MAX_DEPTH:
        raise TemplateError(f"a tool schema or argument is nested more than {MAX_DEPTH} levels deep")


def sorted_value(value: Any, depth: int = 0) -> Any:
    """The value with the members of every object sorted by their UTF-8 names.

    Raises:
        TemplateError: deeper than `MAX_DEPTH`.
    """
    if isinstance(value, Mapping):
        check_depth(depth)
        return {name: sorted_value(value[name], depth + 1) for name in sorted(value)}
    if isinstance(value, list | tuple):
        check_depth(depth)
        return [sorted_value(element, depth + 1) for element in value]
    return value


def _ordered_value(value: Any, depth: int = 0) -> Any:
    """The value as sent. Raises TemplateError deeper than `MAX_DEPTH`."""
    if isinstance(value, Mapping):
        check_depth(depth)
        return {name: _ordered_value(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        check_depth(depth)
        return [_ordered_value(element, depth + 1) for element in value]
    return value


def arguments_object(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a call: names as sent, objects inside the values sorted."""
    return {name: sorted_value(value) for name, value in arguments.items()}


def property_object(prop: ToolProperty, depth: int = 0) -> dict[str, Any]:
    """A property of a schema with its set fields in declaration order."""
    check_depth(depth)
    out: dict[str, Any] = {}
    if prop.any_of:
        out["anyOf"] = [property_object(option, depth + 2) for option in prop.any_of]
    if prop.types:
        out["type"] = prop.types[0] if len(prop.types) == 1 else list(prop.types)
    if prop.items is not None:
        out["items"] = sorted_value(prop.items, depth)
    if prop.description:
        out["description"] = prop.description
    if prop.enum:
        out["enum"] = sorted_value(prop.enum, depth)
    if prop.properties:
        out["properties"] = _properties(prop.properties, depth + 2)
    if prop.required:
        out["required"] = list(prop.required)
    out.update(_ordered_value(prop.others, depth))
    return out


def _properties(properties: Mapping[str, ToolProperty], depth: int) -> _Properties:
    return _Properties({name: property_object(prop, depth) for name, prop in properties.items()})


def parameters_object(function: ToolFunction) -> dict[str, Any]:
    """The `parameters` of a function; `properties` is None when the client sent none."""
    parameters = function.parameters
    out: dict[str, Any] = {"type": parameters.type}
    if parameters.defs is not None:
        out["$defs"] = sorted_value(parameters.defs)
    if parameters.items is not None:
        out["items"] = sorted_value(parameters.items)
    if parameters.required:
        out["required"] = list(parameters.required)
    out["properties"] = None if parameters.properties is None else _properties(parameters.properties, 0)
    out.update(_ordered_value(parameters.others))
    return out


def function_object(function: ToolFunction) -> dict[str, Any]:
    """A function: name, description when there is one, parameters."""
    out: dict[str, Any] = {"name": function.name}
    if function.description:
        out["description"] = function.description
    out["parameters"] = parameters_object(function)
    return out


def tool_object(tool: Tool) -> dict[str, Any]:
    """A tool as the client would send it again."""
    out: dict[str, Any] = {"type": tool.type}
    if tool.items is not None:
        out["items"] = sorted_value(tool.items)
    out["function"] = function_object(tool.function)
    return out


def string_text(text: str, *, is_escaped: bool = True) -> str:
    """A JSON string with its quotes; `is_escaped` writes `<`, `>` and `&` as `\\u003c` and so on."""
    data = gowire.escape_string(text).decode("utf-8")
    if is_escaped or "\\u00" not in data:
        return data
    pieces = data.split("\\\\")  # an escaped backslash may stand before a literal "u003c"
    return "\\\\".join(
        piece.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&") for piece in pieces
    )


def _number_text(value: float) -> str:
    """A number in JSON, as a 64-bit float. Raises TemplateError when it is out of range."""
    if isinstance(value, int) and -_EXACT_INTEGER <= value <= _EXACT_INTEGER:
        return str(value)
    try:
        return gowire.encode(float(value)).decode("ascii")
    except (OverflowError, ValueError) as exc:
        raise TemplateError("a number is out of the range of a 64-bit float") from exc


def format_json(value: Any, *, is_spaced: bool = False, is_escaped: bool = True) -> str:
    """Write a value as JSON with the members in the order given.

    `is_spaced` puts a space after each `:` and `,` outside strings. `is_escaped` False leaves `<`, `>` and `&` as
    they are, save inside the properties of a schema.
    """
    parts: list[str] = []
    colon, comma = (": ", ", ") if is_spaced else (":", ",")
    _append(parts, value, colon, comma, is_escaped)
    return "".join(parts)


def format_bare(value: Any, *, is_spaced: bool = False) -> str:
    """An argument as text: strings as they are, everything else as JSON with sorted objects."""
    return value if isinstance(value, str) else format_json(sorted_value(value), is_spaced=is_spaced)


def format_spaced(value: Any) -> str:
    """Write a value as JSON with a space after each `:` and `,` outside strings."""
    return format_json(value, is_spaced=True)


def _append(parts: list[str], value: Any, colon: str, comma: str, is_escaped: bool) -> None:
    if value is None:
        parts.append("null")
    elif isinstance(value, str):
        parts.append(string_text(value, is_escaped=is_escaped))
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, int | float):
        parts.append(_number_text(value))
    elif isinstance(value, Mapping):
        is_escaped = is_escaped or isinstance(value, _Properties)
        separator = "{"
        for name, member in value.items():
            parts.append(separator + string_text(str(name), is_escaped=is_escaped) + colon)
            _append(parts, member, colon, comma, is_escaped)
            separator = comma
        parts.append("}" if value else "{}")
    elif isinstance(value, Sequence):
        separator = "["
        for element in value:
            parts.append(separator)
            _append(parts, element, colon, comma, is_escaped)
            separator = comma
        parts.append("]" if value else "[]")
    else:
        raise TemplateError(f"a value of type {type(value).__name__} has no JSON form")


def format_indented(value: Any, indent: str = "    ", prefix: str = "") -> str:
    """Write a value as JSON, one member a line, indented; empty objects and lists stay on one line."""
    if isinstance(value, Mapping) and value:
        inner = prefix + indent
        members = (
            f"{inner}{string_text(str(name))}: {format_indented(member, indent, inner)}"
            for name, member in value.items()
        )
        return "{\n" + ",\n".join(members) + f"\n{prefix}}}"
    if isinstance(value, list | tuple) and value:
        inner = prefix + indent
        return "[\n" + ",\n".join(inner + format_indented(v, indent, inner) for v in value) + f"\n{prefix}]"
    return format_json(value)


def format_float(value: float) -> str:
    """A number as Go's `%v` prints it: exponent form below 1e-4 and from 1e6 on.

    Raises:
        TemplateError: an integer out of the range of a 64-bit float.
    """
    if isinstance(value, int) and -1_000_000 < value < 1_000_000:
        return str(value)
    try:
        sign, digits, exponent = Decimal(repr(float(value))).as_tuple()
    except OverflowError as exc:
        raise TemplateError("a number is out of the range of a 64-bit float") from exc
    if not isinstance(exponent, int):  # NaN and infinities have a letter here
        raise TemplateError("a number is out of the range of a 64-bit float")
    text = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) + exponent - 1
    minus = "-" if sign else ""
    if text == "0":
        return f"{minus}0"
    if -4 <= power < 6:
        if power < 0:
            return f"{minus}0.{'0' * (-power - 1)}{text}"
        whole, fraction = text[: power + 1].ljust(power + 1, "0"), text[power + 1 :]
        return f"{minus}{whole}.{fraction}" if fraction else f"{minus}{whole}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"


def format_value(value: Any) -> str:
    """A value as Go's `%v` prints it: strings bare, `<nil>`, `[a b]`, `map[k:v]` with sorted names."""
    if isinstance(value, str):
        return value
    return _print(sorted_value(value))


def _print(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_float(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{name}:{_print(member)}' for name, member in value.items())}]"
    return f"[{' '.join(_print(element) for element in value)}]"


def format_type(types: Sequence[str]) -> str:
    """The type of a property: its name, or several in the form of a list of quoted names."""
    return types[0] if len(types) == 1 else format_json(list(types))
