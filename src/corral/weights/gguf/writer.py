"""Builds the header of a GGUF file (version 3, little-endian): values, tensor table, padding. The caller writes data.

Values are passed as the bytes of the file, type number first, so copied values stay exactly the same.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corral.weights.gguf.names import TENSOR_TYPE_NUMBERS, row_bytes
from corral.weights.gguf.values import encode_text

_DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class NewTensor:
    """A new entry of the tensor table. `shape` has the fastest dimension first, as in a file."""

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
    """The bytes before the data, the offset of each tensor's data in the file, and the size of the file."""

    data: bytes
    offsets: tuple[int, ...]
    file_bytes: int


def pad(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def build_header(values: Mapping[str, bytes], tensors: Sequence[NewTensor]) -> Header:
    """Lay out a file: values and tensors in the given order, each tensor aligned and padded.

    Trailing dimensions of 1 are left out, as ggml does.
    """
    alignment = _DEFAULT_ALIGNMENT
    if "general.alignment" in values:
        alignment = int.from_bytes(values["general.alignment"][4:8], "little")
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(values))]
    for key, value in values.items():
        parts += (encode_text(key), value)
    relative = []
    end = 0
    for tensor in tensors:
        shape = _trimmed(tensor.shape)
        parts.append(encode_text(tensor.name))
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
