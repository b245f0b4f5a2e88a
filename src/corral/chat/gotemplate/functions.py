"""The functions that templates call: Go's built-in ones and Ollama's.

A function gets evaluated arguments and raises CallError with Go's text. `and` and `or` are not here: they do not
evaluate all of their arguments. Source of behaviour: text/template/funcs.go; ollama: template/template.go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus

from corral.chat.gotemplate.format import (
    MAX_TEXT_CHARS,
    OutputLimitError,
    format_value,
    sprint,
    sprintf,
    sprintln,
)
from corral.chat.gotemplate.literals import is_print, to_bytes, to_text
from corral.chat.gotemplate.values import (
    NO_VALUE,
    GoList,
    GoMap,
    GoStruct,
    Uint8,
    go_kind,
    go_type,
    is_nil,
    to_json,
)
from corral.golang.json import encode


class CallError(Exception):
    """A function refused its arguments; the text follows `error calling NAME: `."""


@dataclass(frozen=True, slots=True)
class Function:
    """`min_args` fixed parameters, then any number of more if variadic.

    `parameters`: "value" takes a value as it is, "any" takes no value as nil, "text" is `printf`'s first of all.
    """

    call: Callable[..., object]
    min_args: int
    is_variadic: bool = False
    parameters: Literal["value", "any", "text", "text first"] = "value"


# Comparison

_BASIC = {
    "bool": "bool",
    "string": "string",
    "int": "int",
    "uint8": "uint",
    "float64": "float",
    "complex128": "complex",
}


def _basic_kind(value: object) -> str:
    return _BASIC.get(go_kind(value), "")


def _equal(left: Any, right: Any) -> bool:
    left_kind, right_kind = _basic_kind(left), _basic_kind(right)
    if left_kind != right_kind:
        if {left_kind, right_kind} == {"int", "uint"}:
            return bool(left == right)
        if go_kind(left) != "invalid" and go_kind(right) != "invalid":
            raise CallError(f"incompatible types for comparison: {go_type(left)} and {go_type(right)}")
        return False
    if left_kind:
        return bool(left == right)
    kinds = go_kind(left), go_kind(right)
    if kinds[0] != kinds[1] and "invalid" not in kinds:
        raise CallError(
            f"non-comparable types {format_value(left)}: {go_type(left)}, {go_type(right)}: {format_value(right)}"
        )
    if is_nil(left) or is_nil(right):
        return is_nil(left) and is_nil(right)
    if kinds[1] in ("slice", "map", "func") or (kinds[1] == "struct" and _holds_lists(right)):
        raise CallError(f"non-comparable type {format_value(right)}: {go_type(right)}")
    return left is right if kinds[0] == "ptr" else left.fields == right.fields


def _holds_lists(value: GoStruct) -> bool:
    return any(
        isinstance(field, list | dict | bytes) or (isinstance(field, GoStruct) and _holds_lists(field))
        for field in value.fields.values()
    )


def _eq(first: object, *others: object) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    return any(_equal(first, other) for other in others)


def _ne(left: object, right: object) -> bool:
    return not _equal(left, right)


def _lt(left: Any, right: Any) -> bool:
    kinds = _basic_kind(left), _basic_kind(right)
    if not kinds[0] or not kinds[1]:
        raise CallError("invalid type for comparison")
    if kinds[0] != kinds[1] and set(kinds) != {"int", "uint"}:
        raise CallError(f"incompatible types for comparison: {go_type(left)} and {go_type(right)}")
    if kinds[0] in ("bool", "complex"):
        raise CallError("invalid type for comparison")
    if kinds[0] == "string" and not (left.isascii() and right.isascii()):
        return to_bytes(left) < to_bytes(right)
    return bool(left < right)


def _le(left: object, right: object) -> bool:
    return _lt(left, right) or _equal(left, right)


def _gt(left: object, right: object) -> bool:
    return not _le(left, right)


def _ge(left: object, right: object) -> bool:
    return not _lt(left, right)


# Lists, maps, strings


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(to_bytes(value))
    if isinstance(value, list | dict | bytes):
        return len(value)
    if value is None or (isinstance(value, GoStruct) and value.is_nil):
        raise CallError("len of nil pointer")
    if value is NO_VALUE:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    raise CallError(f"len of type {go_type(value).removeprefix('*')}")


def _position(index: object, limit: int) -> int:
    """Check an index of a list or string: up to and with its length."""
    if index is None or index is NO_VALUE:
        raise CallError("cannot index slice/array with nil")
    if not isinstance(index, int) or isinstance(index, bool):
        raise CallError(f"cannot index slice/array with type {go_type(index)}")
    if not 0 <= index <= limit:
        raise CallError(f"index out of range: {index}")
    return index


def _index(item: Any, *indexes: object) -> object:
    if item is None or item is NO_VALUE:
        raise CallError("index of untyped nil")
    for index in indexes:
        if item is None or (isinstance(item, GoStruct) and item.is_nil):
            raise CallError("index of nil pointer")
        if isinstance(item, dict):
            if not isinstance(index, str):
                if index is None or index is NO_VALUE:
                    raise CallError("value is nil; should be of type string")
                raise CallError(f"value has type {go_type(index)}; should be string")
            item = item[index] if index in item else item.zero() if isinstance(item, GoMap) else None
            continue
        if not isinstance(item, str | list | bytes):
            raise CallError(f"can't index item of type {go_type(item).removeprefix('*')}")
        elements = to_bytes(item) if isinstance(item, str) else item
        position = _position(index, len(elements))
        if position == len(elements):
            raise CallError(f"reflect: {'string' if isinstance(item, str) else 'slice'} index out of range")
        item = Uint8(elements[position]) if isinstance(elements, bytes) else elements[position]
    return item


def _slice(item: Any, *indexes: object) -> object:
    if item is None or item is NO_VALUE:
        raise CallError("slice of untyped nil")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if isinstance(item, str) and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    if not isinstance(item, str | list | bytes):
        raise CallError(f"can't slice item of type {go_type(item)}")
    elements = to_bytes(item) if isinstance(item, str) and not item.isascii() else item
    bounds = [0, len(elements), len(elements)]
    for i, index in enumerate(indexes):
        bounds[i] = _position(index, len(elements))
    for low, high in ((bounds[0], bounds[1]), (bounds[1], bounds[2])):
        if low > high:
            raise CallError(f"invalid slice index: {low} > {high}")
    part = elements[bounds[0] : bounds[1]]
    if isinstance(item, str):
        return to_text(part) if isinstance(part, bytes) else part
    return type(item)(part) if isinstance(item, GoList) else part


def _call(callee: str, function: object, *_: object) -> object:
    """`call`: no value of a template is a function that it could call. `callee` is the operand as written."""
    if function is None or function is NO_VALUE:
        raise CallError("call of nil")
    name = callee or (function if isinstance(function, str) else f"<{go_type(function)} Value>")
    raise CallError(f"non-function {name} of type {go_type(function)}")


# Text

_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


def _one_text(values: tuple[object, ...]) -> str:
    """Join operands for an escaper: nil as `<no value>`, pointers as what they point to."""
    return sprint(
        ["<no value>" if value is None or value is NO_VALUE else printable(value) for value in values]
    )


def printable(value: object) -> object:
    """What is printed for a value: a pointer prints as its struct."""
    if isinstance(value, GoStruct) and value.is_pointer and "String" not in value.methods:
        return format_value(value).removeprefix("&")
    return value


def _html(*values: object) -> str:
    return _one_text(values).translate(_HTML)


def _js(*values: object) -> str:
    return "".join(
        _JS.get(char) or (char if is_print(char) else f"\\u{ord(char):04X}") for char in _one_text(values)
    )


def _urlquery(*values: object) -> str:
    return quote_plus(to_bytes(_one_text(values)), safe="")


def _json(value: object) -> str:
    try:
        text = encode(to_json(value)).decode("utf-8")
    except (TypeError, ValueError):
        # Ollama throws the error away with the text.
        return ""
    if len(text) > MAX_TEXT_CHARS:
        raise OutputLimitError
    return text


# Ollama's own

_DAY_S = 24 * 60 * 60


def _current_date(*_: str) -> str:
    return time.strftime("%Y-%m-%d")


def _yesterday_date(*_: str) -> str:
    now = time.localtime()
    noon = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 12, 0, 0, 0, 0, -1))
    return time.strftime("%Y-%m-%d", time.localtime(noon - _DAY_S))


def _to_typescript_type(value: Any) -> object:
    method = value.methods.get("ToTypeScriptType") if isinstance(value, GoStruct) else None
    return "any" if method is None else method(value)


def _not(value: object) -> bool:
    return not value


BUILTINS: dict[str, Function] = {
    "call": Function(_call, 1, is_variadic=True),
    "eq": Function(_eq, 1, is_variadic=True),
    "ge": Function(_ge, 2),
    "gt": Function(_gt, 2),
    "html": Function(_html, 0, is_variadic=True, parameters="any"),
    "index": Function(_index, 1, is_variadic=True),
    "js": Function(_js, 0, is_variadic=True, parameters="any"),
    "le": Function(_le, 2),
    "len": Function(_len, 1),
    "lt": Function(_lt, 2),
    "ne": Function(_ne, 2),
    "not": Function(_not, 1),
    "print": Function(lambda *values: sprint(values), 0, is_variadic=True, parameters="any"),
    "printf": Function(
        lambda form, *values: sprintf(form, values), 1, is_variadic=True, parameters="text first"
    ),
    "println": Function(lambda *values: sprintln(values), 0, is_variadic=True, parameters="any"),
    "slice": Function(_slice, 1, is_variadic=True),
    "urlquery": Function(_urlquery, 0, is_variadic=True, parameters="any"),
}
CUSTOM: dict[str, Function] = {
    "currentDate": Function(_current_date, 0, is_variadic=True, parameters="text"),
    "json": Function(_json, 1, parameters="any"),
    "toTypeScriptType": Function(_to_typescript_type, 1, parameters="any"),
    "yesterdayDate": Function(_yesterday_date, 0, is_variadic=True, parameters="text"),
}


def is_function(name: str) -> bool:
    """Whether a template may name this function."""
    return name in BUILTINS or name in CUSTOM or name in ("and", "or")
