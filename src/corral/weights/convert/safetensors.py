"""Reads safetensors files: a JSON header, checked against the file's size, and tensors by `pread`.

Files are not memory-mapped: if a mapped file shrinks, the process is killed, and mapped pages count as used memory.
Tensors of unsupported types are listed, and only refused when they are read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from corral.errors import ConversionError
from corral.weights.convert.jsonfile import parse_object
from corral.weights.convert.lazy import Array, DType, Lazy

# The limit of the format's own reader.
_MAX_HEADER_BYTES = 100_000_000
_MAX_TENSORS = 500_000
_MAX_RANK = 8
_READ_BYTES = 16 * 2**20
# Sizes in bytes of every type of the format.
_SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """The place of one tensor. `type_name` is safetensors' name, such as `BF16`."""

    path: Path
    name: str
    type_name: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int

    def lazy(self) -> Lazy:
        """Its values.

        Raises:
            ConversionError: a type that cannot be converted.
        """
        if self.type_name not in DType.__members__:
            raise ConversionError(f'unknown data type: {self.type_name} (tensor "{self.name}")')
        dtype = DType[self.type_name]
        return Lazy(self.shape, dtype, self.reader(dtype.value))

    def read_rows(self, start: int, stop: int) -> bytes:
        """Some rows of a matrix, as stored."""
        row_bytes = self.size_bytes // self.shape[0]
        fd = os.open(self.path, os.O_RDONLY)
        try:
            return self._read(fd, (stop - start) * row_bytes, self.offset + start * row_bytes)
        finally:
            os.close(fd)

    def reader(self, numpy_type: str) -> Callable[[], Iterator[Array]]:
        def parts() -> Iterator[Array]:
            fd = os.open(self.path, os.O_RDONLY)
            try:
                position, end = self.offset, self.offset + self.size_bytes
                while position < end:
                    data = self._read(fd, min(_READ_BYTES, end - position), position)
                    position += len(data)
                    yield np.frombuffer(data, numpy_type)
            finally:
                os.close(fd)

        return parts

    def _read(self, fd: int, count: int, position: int) -> bytes:
        data = os.pread(fd, count, position)
        while len(data) < count:
            more = os.pread(fd, count - len(data), position + len(data))
            if not more:
                raise ConversionError(f'the file ended inside tensor "{self.name}" while it was read')
            data += more
        return data


def read_header(path: Path, name: str) -> dict[str, StoredTensor]:
    """The tensors of a file, each checked to lie inside it.

    Raises:
        ConversionError: not a valid safetensors file; `name` is the file's name in the message.
        OSError
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(8)
        if len(start) < 8:
            raise ConversionError(f"{name}: too short for a safetensors file")
        (length,) = struct.unpack("<Q", start)
        if size_bytes - 8 < length <= _MAX_HEADER_BYTES and file.read(1) == b"{":
            raise ConversionError(
                f"{name}: the file ends inside its header, so it is incomplete: download it again"
            )
        if length > min(_MAX_HEADER_BYTES, size_bytes - 8):
            raise ConversionError(f"{name}: not a safetensors file (its header would have {length} bytes)")
        header = file.read(length)
    entries = parse_object(header, name, max_containers=3 * _MAX_TENSORS)
    entries.pop("__metadata__", None)
    data_start = 8 + length
    return {
        tensor: _parse_entry(path, name, tensor, entry, data_start, size_bytes)
        for tensor, entry in entries.items()
    }


def _parse_entry(
    path: Path, name: str, tensor: str, entry: Any, data_start: int, size_bytes: int
) -> StoredTensor:
    what = f'{name}: tensor "{tensor}"'
    if not isinstance(entry, dict):
        raise ConversionError(f"{what} is not described by an object")
    type_name, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(type_name, str) or type_name not in _SIZES:
        raise ConversionError(f"unknown data type: {type_name} ({what})")
    if not _is_sizes(shape) or len(shape) > _MAX_RANK:
        raise ConversionError(f"{what} has an invalid shape")
    if not _is_sizes(offsets) or len(offsets) != 2:
        raise ConversionError(f"{what} has invalid offsets")
    begin, end = offsets
    if not begin <= end <= size_bytes - data_start:
        raise ConversionError(f"{what} lies outside the file, which may be incomplete: download it again")
    if end - begin != prod(shape) * _SIZES[type_name]:
        raise ConversionError(f"{what} has {end - begin} bytes, which is not what its shape needs")
    return StoredTensor(path, tensor, type_name, tuple(shape), data_start + begin, end - begin)


def _is_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)
