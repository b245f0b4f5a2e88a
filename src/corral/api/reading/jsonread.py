"""Reads request JSON the way Go's decoder does, where that shows on the wire.

Members of an object keep their order and duplicates, a name matches a field in any case, `null` means absent,
and whatever follows the first value is ignored. Unlike Go, bodies and nesting are bounded. Texts of syntax
errors are our own; texts of type errors name the field as Go does.
"""

from __future__ import annotations

import json
import re
from array import array
from itertools import accumulate
from typing import Any, ClassVar, NoReturn

from corral.api.reading.compat_json import scan_string, scanner
from corral.errors import InvalidRequestError

_WHITESPACE = " \t\n\r"


class JSONObject(list[tuple[str, Any]]):
    """An object as its members in document order, duplicates included."""

    __slots__ = ()
    is_only_data: ClassVar[bool] = True  # so that it may come from a worker


JSONMember = tuple[str, Any, str]  # name, value, the value's own text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return number


_decoder = json.JSONDecoder(
    object_pairs_hook=JSONObject, parse_constant=_refuse_constant, parse_float=_finite_float
)
_scan_once = scanner(_decoder)


def read_members(
    body: bytes, go_type: str, *, max_depth: int, empty_text: str = "missing request body"
) -> list[JSONMember]:
    """Return the members of the object in `body`; `go_type` is named in errors, `empty_text` says there is no body.

    Raises:
        InvalidRequestError: no JSON, another kind of value, or nested deeper than `max_depth`.
    """
    text = body.decode("utf-8", "replace")
    start = _skip_space(text, 0)
    if start == len(text):
        raise InvalidRequestError(empty_text)
    if body.count(b"{") + body.count(b"[") > max_depth:
        check_depth(body, max_depth)
    try:
        if text[start] == "{":
            return _members(text, start + 1)
        value, _ = _scan_once(text, start)
    except StopIteration as exc:
        raise InvalidRequestError(_syntax_text(text, int(exc.value))) from None
    except json.JSONDecodeError as exc:
        raise InvalidRequestError(_syntax_text(text, exc.pos)) from None
    except RecursionError:
        raise InvalidRequestError("json: exceeded max depth") from None
    except ValueError as exc:
        raise InvalidRequestError(str(exc)) from None
    if value is None:
        return []
    raise InvalidRequestError(f"json: cannot unmarshal {kind_of(value)} into Go value of type {go_type}")


def _members(text: str, index: int) -> list[JSONMember]:
    """The members after an opening brace, each with the text of its value."""
    members: list[JSONMember] = []
    index = _skip_space(text, index)
    if text[index : index + 1] == "}":
        return members
    while True:
        if text[index : index + 1] != '"':
            raise StopIteration(index)
        name, index = scan_string(text, index + 1, True)
        index = _skip_space(text, index)
        if text[index : index + 1] != ":":
            raise StopIteration(index)
        start = _skip_space(text, index + 1)
        value, index = _scan_once(text, start)
        members.append((name, value, text[start:index]))
        index = _skip_space(text, index)
        end = text[index : index + 1]
        if end == "}":
            return members
        if end != ",":
            raise StopIteration(index)
        index = _skip_space(text, index + 1)


def member_texts(text: str) -> dict[str, str]:
    """The texts of an object's members, by their names in lower case. `text` must be valid JSON."""
    if not text.startswith("{"):
        return {}
    return {name.lower(): value_text for name, _, value_text in _members(text, 1)}


def element_texts(text: str) -> list[str]:
    """The texts of an array's elements. `text` must be valid JSON."""
    texts: list[str] = []
    index = _skip_space(text, 1)
    while text[index] != "]":
        start = index
        _, index = _scan_once(text, start)
        texts.append(text[start:index])
        index = _skip_space(text, index)
        if text[index] == ",":
            index = _skip_space(text, index + 1)
    return texts


def _skip_space(text: str, index: int) -> int:
    while index < len(text) and text[index] in _WHITESPACE:
        index += 1
    return index


def _syntax_text(text: str, index: int) -> str:
    if index >= len(text):
        return "unexpected EOF"
    return f"invalid character {text[index]!r} at offset {index}: the request body is not valid JSON"


# A string, or the rest of one that has no end.
_STRING_BYTES = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# What a bracket adds to the depth, as a signed byte.
_DEPTH_STEPS = bytes(1 if byte in b"[{" else 255 for byte in range(256))


def check_depth(body: bytes, max_depth: int) -> None:
    """Raises InvalidRequestError: JSON nested deeper than `max_depth`."""
    brackets = _STRING_BYTES.sub(b"", body).translate(_DEPTH_STEPS, _NO_BRACKETS)
    if max(accumulate(array("b", brackets)), default=0) > max_depth:
        raise InvalidRequestError("json: exceeded max depth")


def count_values(body: bytes) -> int:
    """About how many values JSON has: at least as many as there are, and no more than twice that and one."""
    rest = _STRING_BYTES.sub(b"", body)
    return 1 + rest.count(b",") + rest.count(b"[") + rest.count(b"{")


def kind_of(value: object) -> str:
    """The kind of a JSON value as Go's decoder names it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "object" if isinstance(value, JSONObject) else "array"


def read_object(text: str, *, max_depth: int) -> dict[str, Any]:
    """The object in a text that is JSON as a whole, like the arguments of a tool call; null is an empty one.

    Raises:
        InvalidRequestError: no JSON, another kind of value, or nested deeper than `max_depth`.
    """
    check_depth(text.encode("utf-8", "replace"), max_depth)
    try:
        value = plain(_decoder.decode(text))
    except StopIteration as exc:
        raise InvalidRequestError(_syntax_text(text, int(exc.value))) from None
    except json.JSONDecodeError as exc:
        raise InvalidRequestError(_syntax_text(text, exc.pos)) from None
    except RecursionError:
        raise InvalidRequestError("json: exceeded max depth") from None
    except ValueError as exc:
        raise InvalidRequestError(str(exc)) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequestError("not a JSON object")
    return value


def clean_text(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 can carry."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def plain(value: Any) -> Any:
    """A decoded value as plain dicts and lists; of duplicate members the last counts."""
    if isinstance(value, JSONObject):
        return {clean_text(name): plain(member) for name, member in value}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return clean_text(value) if isinstance(value, str) else value
