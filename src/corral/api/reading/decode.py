"""Turns the members of a request object into typed values, with the errors that Go's decoder would give.

A field either takes a value, or reports a type error. Plain type errors are soft: decoding goes on and the
first in document order is reported. A field with a decoder of its own (`think`, `keep_alive`, messages, tool
arguments) fails hard: its error ends the decoding at once, before any soft one.
"""

from __future__ import annotations

import binascii
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from corral.api.reading.call_arguments import arguments_of
from corral.api.reading.jsonread import JSONMember, JSONObject, clean_text, kind_of, plain, read_members
from corral.errors import InvalidRequestError
from corral.golang.quote import quoted
from corral.golang.time import parse_keep_alive
from corral.logs import Sparing
from corral.types import Message, Think, ToolCall

_unknown = Sparing(logging.getLogger("corral.options"))
_INT_RANGE = range(-(2**63), 2**63)


class Decoding:
    """One decoding under way: the Go struct named in errors, and the first soft error."""

    __slots__ = ("soft_error", "struct")

    def __init__(self, struct: str) -> None:
        self.struct = struct
        self.soft_error: str | None = None

    def mismatch(self, value: object, path: str, go_type: str) -> None:
        """Note that `value` does not fit the field at `path`."""
        if self.soft_error is None:
            kind = kind_of(value)
            if kind == "number" and go_type == "int":
                kind = f"number {value}"
            self.soft_error = (
                f"json: cannot unmarshal {kind} into Go struct field {self.struct}.{path} of type {go_type}"
            )


# Returns the decoded value, or None when the value does not fit (the error is noted) and the default stays.
Decode = Callable[[Decoding, Any, str, str], Any]


def decode_request(
    body: bytes, struct: str, fields: Mapping[str, Decode], *, max_depth: int, package: str = "api"
) -> dict[str, Any]:
    """Decode an object; keys of the result are those of `fields` that were present and not null.

    `package` is the Go package of `struct`; the compatible surfaces have one each, and their own word for no body.

    Raises:
        InvalidRequestError: with the text for the client.
    """
    decoding = Decoding(struct)
    try:
        empty_text = "missing request body" if package == "api" else "EOF"
        members = read_members(body, f"{package}.{struct}", max_depth=max_depth, empty_text=empty_text)
        values = decode_members(decoding, members, fields, "")
    except RecursionError:
        raise InvalidRequestError("json: exceeded max depth") from None
    if decoding.soft_error is not None:
        raise InvalidRequestError(decoding.soft_error)
    return values


def decode_members(
    decoding: Decoding, members: list[JSONMember], fields: Mapping[str, Decode], prefix: str
) -> dict[str, Any]:
    """Decode the members of an object that `fields` names; `prefix` is the path of the object with a final dot."""
    values: dict[str, Any] = {}
    for name, value, text in members:
        key = name if name in fields else name.casefold()
        decode = fields.get(key)
        if decode is None:
            if not prefix:
                _unknown.write(logging.DEBUG, "unknown field request=%s field=%.64r", decoding.struct, name)
            continue
        if value is None:
            # After an earlier duplicate a scalar keeps its value; lists, maps and tri-states are reset.
            if not isinstance(values.get(key), str | int | float) or decode is boolean:
                values.pop(key, None)
            continue
        decoded = decode(decoding, value, prefix + key, text)
        if decoded is None:
            continue
        if decode is mapping and key in values:
            decoded = {**values[key], **decoded}
        values[key] = decoded
    return values


def members_of(value: JSONObject) -> list[JSONMember]:
    """The members of an inner object; their own texts are not known."""
    return [(name, member, "") for name, member in value]


def string(decoding: Decoding, value: Any, path: str, _text: str) -> str | None:
    if isinstance(value, str):
        return clean_text(value)
    decoding.mismatch(value, path, "string")
    return None


def boolean(decoding: Decoding, value: Any, path: str, _text: str) -> bool | None:
    if isinstance(value, bool):
        return value
    decoding.mismatch(value, path, "bool")
    return None


def integer(decoding: Decoding, value: Any, path: str, _text: str) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value in _INT_RANGE:
        return value
    decoding.mismatch(value, path, "int")
    return None


def integers(decoding: Decoding, value: Any, path: str, _text: str) -> list[int] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]int")
        return None
    decoded = []
    for element in value:
        number = 0 if element is None else integer(decoding, element, path, "")
        decoded.append(number or 0)
    return decoded


def strings(decoding: Decoding, value: Any, path: str, _text: str) -> list[str] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]string")
        return None
    return [string(decoding, e, path, "") or "" if e is not None else "" for e in value]


def mapping(decoding: Decoding, value: Any, path: str, _text: str) -> dict[str, Any] | None:
    if isinstance(value, JSONObject):
        return cast("dict[str, Any]", plain(value))
    decoding.mismatch(value, path, "map[string]interface {}")
    return None


def string_map(decoding: Decoding, value: Any, path: str, _text: str) -> dict[str, str] | None:
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "map[string]string")
        return None
    decoded = {}
    for name, member in value:
        text = "" if member is None else string(decoding, member, path, "")
        decoded[clean_text(name)] = text or ""
    return decoded


def any_value(_decoding: Decoding, value: Any, _path: str, _text: str) -> Any:
    return plain(value)


def raw_json(_decoding: Decoding, _value: Any, _path: str, text: str) -> str:
    """The value's own text."""
    return text


_DATA_URL = re.compile(r"data:(?:image|audio)/[\w.+-]{1,40};base64,", re.ASCII | re.IGNORECASE)
# PNG, JPEG, GIF, WebP and WAV, BMP, MP3.
_MEDIA_MARKS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"ID3", b"\xff\xfb", b"\xff\xf3")


def images(decoding: Decoding, value: Any, path: str, _text: str) -> tuple[bytes, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]api.ImageData")
        return None
    decoded = []
    for element in value:
        if isinstance(element, str):
            try:
                decoded.append(_decode_media(element))
            except InvalidRequestError as exc:
                decoding.soft_error = decoding.soft_error or str(exc)
        elif element is None:
            decoded.append(b"")
        else:
            decoding.mismatch(element, path, "api.ImageData")
    return tuple(decoded)


def _decode_media(text: str) -> bytes:
    """Base64, or a data URL with a picture or a sound in it, as web pages have them.

    Any other data URL is what it is for the original: no base64.

    Raises:
        InvalidRequestError
    """
    if match := _DATA_URL.match(text):
        content = decode_base64(text[match.end() :])
        if content.startswith(_MEDIA_MARKS):
            return content
    return decode_base64(text)


def is_image(content: bytes) -> bool:
    """Whether the first bytes are those of PNG, JPEG or WebP."""
    return content.startswith((b"\x89PNG", b"\xff\xd8\xff")) or (
        content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    )


def decode_base64(text: str) -> bytes:
    """Decode standard base64; line breaks inside are skipped.

    Raises:
        InvalidRequestError: with the position of the first byte that does not belong.
    """
    compact = text.replace("\r", "").replace("\n", "")
    try:
        if len(compact) % 4:
            raise ValueError("incomplete")
        return binascii.a2b_base64(compact, strict_mode=True) if compact else b""
    except (binascii.Error, ValueError):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        position = next((i for i, char in enumerate(compact) if char not in alphabet), len(compact))
        raise InvalidRequestError(f"illegal base64 data at input byte {position}") from None


def think(_decoding: Decoding, value: Any, _path: str, _text: str) -> Think:
    levels = '"high", "medium", "low", "max", true, or false'
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise InvalidRequestError(f"think must be a boolean or string ({levels})")
    if value not in ("low", "medium", "high", "max"):
        raise InvalidRequestError(f"invalid think value: {quoted(value)} (must be {levels})")
    return cast("Think", value)


def keep_alive(_decoding: Decoding, value: Any, _path: str, _text: str) -> int | None:
    return parse_keep_alive(plain(value) if isinstance(value, list) else value)


def messages(decoding: Decoding, value: Any, path: str, _text: str) -> tuple[Message, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]api.Message")
        return None
    return tuple(_message(decoding.struct, element, path) for element in value)


def _hard(decoding: Decoding) -> None:
    """Raise the soft error of a nested decoding: inside a decoder of its own it ends everything."""
    if decoding.soft_error is not None:
        raise InvalidRequestError(decoding.soft_error)


def _message(struct: str, value: Any, path: str) -> Message:
    if value is None:
        return Message(role="")
    decoding = Decoding(struct)
    if not isinstance(value, JSONObject):
        raise InvalidRequestError(
            f"json: cannot unmarshal {kind_of(value)} into Go struct field {struct}.{path} of type api.Alias"
        )
    values = decode_members(decoding, members_of(value), _MESSAGE_FIELDS, path + ".")
    _hard(decoding)
    values["role"] = values.get("role", "").lower()
    return Message(**values)


def _tool_calls(decoding: Decoding, value: Any, path: str, _text: str) -> tuple[ToolCall, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]api.ToolCall")
        return None
    calls = []
    for element in value:
        if element is None:
            calls.append(ToolCall("", {}))
        elif isinstance(element, JSONObject):
            members = members_of(element)
            values = decode_members(decoding, members, {"id": string, "function": _call_function}, path + ".")
            calls.append(ToolCall(**{"name": "", "arguments": {}, **values.pop("function", {}), **values}))
        else:
            decoding.mismatch(element, path, "api.ToolCall")
    return tuple(calls)


def _call_function(decoding: Decoding, value: Any, path: str, _text: str) -> dict[str, Any] | None:
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "api.ToolCallFunction")
        return None
    fields = {"index": integer, "name": string, "arguments": _arguments}
    return decode_members(decoding, members_of(value), fields, path + ".")


def _arguments(_decoding: Decoding, value: Any, _path: str, _text: str) -> dict[str, Any]:
    return arguments_of(plain(value))


_MESSAGE_FIELDS: dict[str, Decode] = {
    "role": string,
    "content": string,
    "thinking": string,
    "images": images,
    "tool_calls": _tool_calls,
    "tool_name": string,
    "tool_call_id": string,
}
