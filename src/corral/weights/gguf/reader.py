"""Reads the header of a GGUF file (versions 2 and 3, little-endian) through a small window.

Every count, length and offset is checked against the file's size before it is used, and headers are limited (see the
limits below, far above those of known models). So reading takes bounded time and memory, whatever the file claims.
Arrays stay in the file until they are needed. Files are not memory-mapped: if a mapped file shrinks, the process is
killed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from corral.errors import GGUFCutShortError, GGUFError
from corral.golang.json import Float32
from corral.golang.quote import quoted
from corral.weights.gguf.names import TENSOR_TYPES, file_type_name

_MAGIC = b"GGUF"
_MAX_DIMENSIONS = 4
_MAX_NAME_BYTES = 1 << 20
_DEFAULT_ALIGNMENT = 32
_WINDOW_BYTES = 1 << 20
# Limits. The largest in use: 2,000 tensors, 150 values, 500,000 merges, templates of 30 KB.
_MAX_TENSORS = 100_000
_MAX_VALUES = 50_000
_MAX_ARRAY_ELEMENTS = 1 << 22
_MAX_ARRAY_BYTES = 1 << 28
_MAX_TEXT_BYTES = 1 << 24
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
    """An array in a file, read on demand."""

    element_type: str
    length: int
    _path: Path = field(repr=False)
    _offset: int = field(repr=False)
    _size_bytes: int = field(repr=False)

    def __len__(self) -> int:
        return self.length

    @property
    def size_bytes(self) -> int:
        """Its size in the file."""
        return self._size_bytes

    @property
    def struct_code(self) -> str:
        """The `struct` format letter of the elements, if they are numbers."""
        return next(code for name, code in _SCALARS.values() if name == self.element_type)

    def open(self) -> BinaryIO:
        """The file at the first element, to be read in pieces. A string is its length in 8 bytes, then its bytes."""
        file = self._path.open("rb", buffering=_WINDOW_BYTES // 4)
        file.seek(self._offset)
        return file

    def values(self) -> list[Any]:
        """All elements. Invalid UTF-8 in strings becomes replacement characters."""
        if self.element_type == "string":
            return [text.decode("utf-8", "replace") for text in self.byte_strings()]
        return list(struct.unpack(f"<{self.length}{self.struct_code}", self._read()))

    def byte_strings(self) -> Iterator[bytes]:
        """The raw elements of an array of strings."""
        return _strings(self._read(), self.length)

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(self._size_bytes)
        if len(data) != self._size_bytes:
            raise GGUFError("file became shorter after its header was read")
        return data


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of the tensor table. `shape` is in file order, fastest dimension first."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset: int
    size_bytes: int
    n_elements: int


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """A valid header: every tensor lies inside the file.

    `value_spans` is the place of each value in the file: offset and size in bytes, including its type number.
    """

    path: Path
    size_bytes: int
    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    alignment: int
    value_spans: Mapping[str, tuple[int, int]] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> GGUFFile:
        """Read a header.

        Raises:
            GGUFError: the file is not a valid GGUF file.
            OSError
        """
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            if size_bytes < 24:
                raise GGUFCutShortError("file is too short for a GGUF header")
            return _Reader(path, file, size_bytes).read()

    @property
    def architecture(self) -> str:
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def get_arch(self, key: str, default: Any = None) -> Any:
        """A value whose key begins with the architecture's name."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def raw_values(self) -> dict[str, bytes]:
        """All values as stored in the file: the type number (4 bytes), then the bytes.

        Raises:
            GGUFError: the file became shorter.
            OSError
        """
        values = {}
        with self.path.open("rb") as file:
            for key, (offset, size_bytes) in self.value_spans.items():
                file.seek(offset)
                values[key] = file.read(size_bytes)
                if len(values[key]) != size_bytes:
                    raise GGUFError("file became shorter after its header was read")
        return values

    @property
    def parameter_count(self) -> int:
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def file_type_name(self) -> str:
        value = self.metadata.get("general.file_type")
        return file_type_name(value) if isinstance(value, int) else "unknown"


def _strings(data: bytes, count: int, position: int = 0) -> Iterator[bytes]:
    for _ in range(count):
        (length,) = _U64(data, position)
        position += 8 + length
        yield data[position - length : position]


class _Reader:
    """Reads the header once. `_data` is the part of the file in memory, which starts at `_base`."""

    def __init__(self, path: Path, file: BinaryIO, size_bytes: int) -> None:
        self._path = path
        self._file = file
        self._end = size_bytes
        self._base = 0
        self._data = b""
        self._position = 0
        self._text_bytes = 0
        self._spans: dict[str, tuple[int, int]] = {}

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
        # Even the smallest entry of either table is larger than this.
        if tensor_count > self._end // 24 or value_count > self._end // 12:
            raise GGUFCutShortError("header claims more entries than the file can hold")
        if tensor_count > _MAX_TENSORS or value_count > _MAX_VALUES:
            raise GGUFError(
                f"header has {tensor_count} tensors and {value_count} values, "
                f"at most {_MAX_TENSORS} and {_MAX_VALUES} are accepted"
            )
        metadata = self._metadata(value_count)
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise GGUFError(f"invalid GGUF alignment: {alignment}")
        table = [self._tensor() for _ in range(tensor_count)]
        data_offset = -(-self._position // alignment) * alignment
        tensors = self._checked(table, data_offset, alignment)
        return GGUFFile(
            self._path, self._end, version, metadata, tensors, data_offset, alignment, self._spans
        )

    def _load(self, position: int, count: int) -> None:
        """Load the bytes from a position on: at least `count`, unless the file ends."""
        self._file.seek(position)
        self._base = position
        self._data = self._file.read(max(count, _WINDOW_BYTES))

    def _take(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if self._position > self._end:
            raise GGUFCutShortError("file ends inside its header")
        if start < self._base or self._position > self._base + len(self._data):
            self._load(start, count)
            if len(self._data) < count:
                raise GGUFError("file became shorter while its header was read")
        return self._data[start - self._base : self._position - self._base]

    def _u32(self) -> int:
        value: int = _U32(self._take(4))[0]
        return value

    def _u64(self) -> int:
        value: int = _U64(self._take(8))[0]
        return value

    def _text(self, length: int) -> str:
        """A text; all texts of a header together are limited."""
        self._text_bytes += length
        if self._text_bytes > _MAX_TEXT_BYTES or length > self._end - self._position:
            raise GGUFError(f"a string of {length} bytes in the header is too long")
        return self._take(length).decode("utf-8", "replace")

    def _name(self) -> str:
        length = self._u64()
        if length > _MAX_NAME_BYTES:
            raise GGUFError(f"a name of {length} bytes in the header is too long")
        return self._text(length)

    def _metadata(self, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(count):
            key = self._name()
            if key in metadata:
                raise GGUFError(f"metadata key {key!r} occurs twice")
            start = self._position
            metadata[key] = self._value(key, self._u32())
            self._spans[key] = (start, self._position - start)
        return metadata

    def _value(self, key: str, kind: int) -> Any:
        if kind == _STRING:
            return self._text(self._u64())
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
        if kind != _STRING and kind not in _SCALARS:
            raise GGUFError(f"metadata key {key!r} is an array of type {kind}, which is not supported")
        name, code = ("string", "Q") if kind == _STRING else _SCALARS[kind]
        # A string is preceded by its length, so it takes at least 8 bytes.
        size = struct.calcsize("<" + code)
        if length > (self._end - start) // size:
            raise GGUFCutShortError(
                f"metadata key {key!r} claims {length} elements, more than the file holds"
            )
        if length > _MAX_ARRAY_ELEMENTS:
            raise GGUFError(
                f"metadata key {key!r} has {length} elements, at most {_MAX_ARRAY_ELEMENTS} are accepted"
            )
        if kind == _STRING:
            self._skip_strings(key, length)
        else:
            self._position += length * size
        return GGUFArray(name, length, self._path, start, self._position - start)

    def _skip_strings(self, key: str, count: int) -> None:
        limit = min(self._end, self._position + _MAX_ARRAY_BYTES)
        base, data = self._base, self._data
        index, last = self._position - base, len(data) - 8
        for _ in range(count):
            if index > last or index < 0:
                if base + index > limit - 8:
                    break
                self._load(base + index, 8)
                base, data = self._base, self._data
                index, last = 0, len(data) - 8
                if last < 0:
                    break
            index += 8 + _U64(data, index)[0]
        else:
            self._position = base + index
            if self._position <= limit:
                return
        raise GGUFCutShortError(
            f"metadata key {key!r} has strings that are longer than the file, or than is accepted"
        )

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._name()
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
                    f"which is not a multiple of {tensor_type.block_elements}"
                )
            size_bytes = n_elements // tensor_type.block_elements * tensor_type.block_bytes
            if offset % alignment:
                raise GGUFError(f"tensor {name!r} is not aligned to {alignment} bytes")
            end = data_offset + offset + size_bytes
            if end > self._end:
                raise GGUFCutShortError(
                    f"tensor {quoted(name)} offset+size ({end}) exceeds file size ({self._end})"
                )
            tensors.append(TensorInfo(name, shape, tensor_type.name, offset, size_bytes, n_elements))
        return tuple(tensors)
