"""Writes the header of a GGUF file (version 3, little-endian): values, tensor table, padding. Data is the caller's.

Values travel as the bytes that a file holds, type number first, so that what is only copied is copied exactly.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from corral.gguf.names import TENSOR_TYPE_NUMBERS, row_bytes

__all__ = ["Header", "NewTensor", "ValueKind", "build_header", "encode_value", "pad"]

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
_DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class NewTensor:
    """An entry of the table to write. `shape` fastest dimension first, as in a file."""

    name: str
    shape: tuple[int, ...]
    type_name: str

    @property
    def size_bytes(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return row_bytes(self.type_name, count)


@dataclass(frozen=True, slots=True)
class Header:
    """The bytes in front of the data, where in the file each tensor's data goes, and the file's whole size."""

    data: bytes
    offsets: tuple[int, ...]
    file_bytes: int


def pad(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def encode_value(value: Any, kind: ValueKind) -> bytes:
    """A value, or a list of them, as `raw_value` gives it."""
    number = _KINDS[kind][0]
    if isinstance(value, list | tuple):
        head = struct.pack("<IIQ", _ARRAY, number, len(value))
        return head + b"".join(_encode(element, kind) for element in value)
    return struct.pack("<I", number) + _encode(value, kind)


def _encode(value: Any, kind: ValueKind) -> bytes:
    if kind == "string":
        return _string(value)
    return struct.pack("<" + _KINDS[kind][1], value)


def _string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def build_header(values: Mapping[str, bytes], tensors: Sequence[NewTensor]) -> Header:
    """Lay a file out: values and tensors in the order given, each tensor aligned and padded.

    Trailing dimensions of 1 are left out, as ggml does.
    """
    alignment = _DEFAULT_ALIGNMENT
    if "general.alignment" in values:
        alignment = int.from_bytes(values["general.alignment"][4:8], "little")
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(values))]
    for key, value in values.items():
        parts += (_string(key), value)
    relative = []
    end = 0
    for tensor in tensors:
        shape = _trimmed(tensor.shape)
        parts.append(_string(tensor.name))
        parts.append(struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        parts.append(struct.pack("<IQ", TENSOR_TYPE_NUMBERS[tensor.type_name], end))
        relative.append(end)
        end += pad(tensor.size_bytes, alignment)
    data = b"".join(parts)
    data += bytes(pad(len(data), alignment) - len(data))
    return Header(data, tuple(len(data) + offset for offset in relative), len(data) + end)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    count = len(shape)
    while count > 1 and shape[count - 1] == 1:
        count -= 1
    return shape[:count] or (1,)
