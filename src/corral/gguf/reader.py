"""Reads the header of a GGUF file (versions 2 and 3, little-endian) through a memory map.

Every count, length and offset is checked against the file's size before it is used, so that reading takes time
and memory in proportion to the header, whatever the file claims. Arrays stay in the file until asked for.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral.errors import GGUFError
from corral.gguf.names import TENSOR_TYPES, file_type_name
from corral.gowire import Float32

__all__ = ["GGUFArray", "GGUFFile", "TensorInfo"]

_MAGIC = b"GGUF"
_MAX_DIMENSIONS = 4
_MAX_NAME_BYTES = 65_535
_DEFAULT_ALIGNMENT = 32
_FLOAT32, _STRING, _ARRAY = 6, 8, 9
# Value types by number: name, struct format.
_SCALARS = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    4: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    7: ("bool", "?"),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}
_U32 = struct.Struct("<I").unpack_from
_U64 = struct.Struct("<Q").unpack_from


@dataclass(frozen=True, slots=True)
class GGUFArray:
    """An array in a file that is read when asked for."""

    element_type: str
    length: int
    _path: Path = field(repr=False)
    _offset: int = field(repr=False)
    _size_bytes: int = field(repr=False)

    def __len__(self) -> int:
        return self.length

    def values(self) -> list[Any]:
        """All elements. Strings that are not UTF-8 keep their place with replacement characters."""
        if self.element_type == "string":
            return [text.decode("utf-8", "replace") for text in self.byte_strings()]
        code = next(code for name, code in _SCALARS.values() if name == self.element_type)
        return list(struct.unpack(f"<{self.length}{code}", self._read()))

    def byte_strings(self) -> Iterator[bytes]:
        """The elements of an array of strings as they are in the file."""
        return _strings(self._read(), self.length)

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            return file.read(self._size_bytes)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of the tensor table. `shape` in file order, fastest dimension first."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset: int
    size_bytes: int
    n_elements: int


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """A header that was found sound: every tensor lies inside the file."""

    path: Path
    size_bytes: int
    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    data_offset: int

    @classmethod
    def open(cls, path: Path) -> GGUFFile:
        """Read a header.

        Raises:
            GGUFError: the file is no GGUF file, or not a sound one.
            OSError
        """
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            if size_bytes < 24:
                raise GGUFError("file is too short for a GGUF header")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data, size_bytes).read()

    @property
    def architecture(self) -> str:
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def get_arch(self, key: str, default: Any = None) -> Any:
        """A value whose key begins with the architecture's name."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    @property
    def parameter_count(self) -> int:
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def file_type_name(self) -> str:
        value = self.metadata.get("general.file_type")
        return file_type_name(value) if isinstance(value, int) else "unknown"


def _strings(data: bytes | mmap.mmap, count: int, position: int = 0) -> Iterator[bytes]:
    for _ in range(count):
        (length,) = _U64(data, position)
        position += 8 + length
        yield data[position - length : position]


class _Reader:
    """Walks the header once."""

    def __init__(self, path: Path, data: mmap.mmap, size_bytes: int) -> None:
        self._path = path
        self._data = data
        self._end = size_bytes
        self._position = 0

    def read(self) -> GGUFFile:
        magic = self._take(4)
        if magic == _MAGIC[::-1]:
            raise GGUFError("file is a big-endian GGUF file, which is not supported")
        if magic != _MAGIC:
            raise GGUFError("file does not begin with the GGUF magic")
        version = self._u32()
        if version not in (2, 3):
            raise GGUFError(f"GGUF version {version} is not supported (2 and 3 are)")
        tensor_count, value_count = self._u64(), self._u64()
        # The smallest entry of either table has more bytes than this.
        if tensor_count > self._end // 24 or value_count > self._end // 12:
            raise GGUFError("header claims more entries than the file can hold")
        metadata = self._metadata(value_count)
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise GGUFError(f"invalid GGUF alignment: {alignment}")
        table = [self._tensor() for _ in range(tensor_count)]
        data_offset = -(-self._position // alignment) * alignment
        tensors = self._checked(table, data_offset, alignment)
        return GGUFFile(self._path, self._end, version, metadata, tensors, data_offset)

    def _take(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if self._position > self._end:
            raise GGUFError("file ends inside its header")
        return self._data[start : self._position]

    def _u32(self) -> int:
        value: int = _U32(self._take(4))[0]
        return value

    def _u64(self) -> int:
        value: int = _U64(self._take(8))[0]
        return value

    def _string(self, limit_bytes: int) -> str:
        length = self._u64()
        if length > limit_bytes or length > self._end - self._position:
            raise GGUFError(f"a string of {length} bytes in the header is too long")
        return self._take(length).decode("utf-8", "replace")

    def _metadata(self, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(count):
            key = self._string(_MAX_NAME_BYTES)
            if key in metadata:
                raise GGUFError(f"metadata key {key!r} occurs twice")
            metadata[key] = self._value(key, self._u32())
        return metadata

    def _value(self, key: str, kind: int) -> Any:
        if kind == _STRING:
            return self._string(self._end)
        if kind == _ARRAY:
            return self._array(key)
        if kind not in _SCALARS:
            raise GGUFError(f"metadata key {key!r} has a value of unknown type {kind}")
        code = "<" + _SCALARS[kind][1]
        value = struct.unpack(code, self._take(struct.calcsize(code)))[0]
        return Float32(value) if kind == _FLOAT32 else value

    def _array(self, key: str) -> GGUFArray:
        kind, length = self._u32(), self._u64()
        start = self._position
        if kind == _STRING:
            self._skip_strings(key, length)
            name = "string"
        elif kind in _SCALARS:
            name, code = _SCALARS[kind]
            size = struct.calcsize("<" + code)
            if length > (self._end - start) // size:
                raise GGUFError(f"metadata key {key!r} claims {length} elements, more than the file holds")
            self._position += length * size
        else:
            raise GGUFError(f"metadata key {key!r} is an array of type {kind}, which is not supported")
        return GGUFArray(name, length, self._path, start, self._position - start)

    def _skip_strings(self, key: str, count: int) -> None:
        position, end, data = self._position, self._end, self._data
        if count > (end - position) // 8:
            raise GGUFError(f"metadata key {key!r} claims {count} strings, more than the file holds")
        for _ in range(count):
            if position + 8 > end:
                raise GGUFError("file ends inside its header")
            position += 8 + _U64(data, position)[0]
        if position > end:
            raise GGUFError("file ends inside its header")
        self._position = position

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string(_MAX_NAME_BYTES)
        dimensions = self._u32()
        if dimensions > _MAX_DIMENSIONS:
            raise GGUFError(
                f"tensor {name!r} has {dimensions} dimensions, at most {_MAX_DIMENSIONS} are possible"
            )
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        return name, shape, self._u32(), self._u64()

    def _checked(
        self, table: list[tuple[str, tuple[int, ...], int, int]], data_offset: int, alignment: int
    ) -> tuple[TensorInfo, ...]:
        tensors: list[TensorInfo] = []
        names: set[str] = set()
        for name, shape, kind, offset in table:
            if name in names:
                raise GGUFError(f"tensor {name!r} occurs twice")
            names.add(name)
            tensor_type = TENSOR_TYPES.get(kind)
            if tensor_type is None:
                raise GGUFError(f"tensor {name!r} has unknown type {kind}")
            n_elements = 1
            for length in shape:
                if length == 0:
                    raise GGUFError(f"tensor {name!r} has an empty dimension")
                n_elements *= length
            if n_elements >= 2**63:
                raise GGUFError("parameter count overflow")
            if shape and shape[0] % tensor_type.block_elements:
                raise GGUFError(
                    f"tensor {name!r} of type {tensor_type.name} has rows of {shape[0]} elements, "
                    f"which is no multiple of {tensor_type.block_elements}"
                )
            size_bytes = n_elements // tensor_type.block_elements * tensor_type.block_bytes
            if offset % alignment:
                raise GGUFError(f"tensor {name!r} is not aligned to {alignment} bytes")
            end = data_offset + offset + size_bytes
            if end > self._end:
                raise GGUFError(f'tensor "{name}" offset+size ({end}) exceeds file size ({self._end})')
            tensors.append(TensorInfo(name, shape, tensor_type.name, offset, size_bytes, n_elements))
        return tuple(tensors)
