"""Converts metadata values between Python and the bytes of a file: type number, then value, little-endian."""

from __future__ import annotations

import struct
from typing import Any, Literal, cast

from corral.errors import GGUFError

ValueKind = Literal[
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "uint64", "int64", "float64"
]  # fmt: skip
_KINDS: dict[str, tuple[int, str]] = {
    "uint8": (0, "B"),
    "int8": (1, "b"),
    "uint16": (2, "H"),
    "int16": (3, "h"),
    "uint32": (4, "I"),
    "int32": (5, "i"),
    "float32": (6, "f"),
    "bool": (7, "?"),
    "string": (8, ""),
    "uint64": (10, "Q"),
    "int64": (11, "q"),
    "float64": (12, "d"),
}
_ARRAY = 9
_KIND_BY_NUMBER = {number: kind for kind, (number, _) in _KINDS.items()}


def encode_value(value: Any, kind: ValueKind) -> bytes:
    """A value, or a list of values, in the format of `GGUFFile.raw_values`."""
    number = _KINDS[kind][0]
    if isinstance(value, list | tuple):
        head = struct.pack("<IIQ", _ARRAY, number, len(value))
        return head + b"".join(_encode(element, kind) for element in value)
    return struct.pack("<I", number) + _encode(value, kind)


def _encode(value: Any, kind: ValueKind) -> bytes:
    if kind == "string":
        return encode_text(value)
    return struct.pack("<" + _KINDS[kind][1], value)


def encode_text(text: str | bytes) -> bytes:
    """A text preceded by its length."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def decode_value(data: bytes) -> tuple[ValueKind, Any]:
    """A value, or the list of an array's elements, with its kind. Texts stay bytes, since not all are UTF-8.

    Raises:
        GGUFError: an unknown kind, or too few bytes.
    """
    try:
        (number,) = struct.unpack_from("<I", data)
        if number != _ARRAY:
            kind = _kind(number)
            return kind, next(iter(_decode(data, 4, kind, 1)))
        number, count = struct.unpack_from("<IQ", data, 4)
        kind = _kind(number)
        return kind, _decode(data, 16, kind, count)
    except struct.error as exc:
        raise GGUFError("a value ends too early") from exc


def _kind(number: int) -> ValueKind:
    if number not in _KIND_BY_NUMBER:
        raise GGUFError(f"a value has unknown type {number}")
    return cast(ValueKind, _KIND_BY_NUMBER[number])


def _decode(data: bytes, offset: int, kind: ValueKind, count: int) -> list[Any]:
    if kind != "string":
        return list(struct.unpack_from(f"<{count}{_KINDS[kind][1]}", data, offset))
    texts = []
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, offset)
        offset += 8 + length
        texts.append(data[offset - length : offset])
    return texts
