"""Importance matrices in both formats of llama-imatrix: its own `.dat` and GGUF.

Only the index is in memory; the values of a tensor are read when it is quantised. llama.cpp:
common/imatrix-loader.cpp.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corral.errors import GGUFError, QuantizeError
from corral.weights.gguf import GGUFArray, GGUFFile, TensorInfo

_SUMS, _COUNTS = ".in_sum2", ".counts"
_METADATA = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_MAX_ENTRIES = 200_000
_MAX_NAME_BYTES = 4096
_INT = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class _Entry:
    """The place of one tensor's sums; counts are one number (`.dat`) or offset and length in the file."""

    offset: int
    length: int
    calls: int = 0
    counts_offset: int = 0
    counts_length: int = 0


@dataclass(frozen=True, slots=True)
class Imatrix:
    """An importance matrix on disk. `chunk_count` is 0 if the file does not contain it."""

    path: Path
    dataset: str
    chunk_count: int
    _entries: Mapping[str, _Entry]

    @classmethod
    def open(cls, path: Path) -> Imatrix:
        """Raises QuantizeError (not an importance matrix), OSError."""
        with path.open("rb") as file:
            is_gguf = file.read(4) == b"GGUF"
        try:
            return _open_gguf(path) if is_gguf else _open_legacy(path)
        except GGUFError as exc:
            raise QuantizeError(f"importance matrix {path.name}: {exc}") from exc
        except struct.error as exc:
            raise QuantizeError(f"{path.name} is not an importance matrix, or is truncated") from exc

    def __len__(self) -> int:
        return len(self._entries)

    def length(self, name: str) -> int | None:
        """The number of values for a tensor; None if there are none."""
        entry = self._entries.get(name)
        return entry.length if entry else None

    def values(self, name: str) -> array[float]:
        """Mean squared activations of a tensor's columns, one set per expert.

        Raises:
            KeyError
            QuantizeError: a value that is not a finite number.
        """
        entry = self._entries[name]
        with self.path.open("rb") as file:
            file.seek(entry.offset)
            sums = _floats(file.read(4 * entry.length))
            file.seek(entry.counts_offset)
            counts = _floats(file.read(4 * entry.counts_length))
        if len(sums) != entry.length or len(counts) != entry.counts_length:
            raise QuantizeError(f"importance matrix {self.path.name} is truncated")
        if entry.counts_length:
            result = _normalized(sums, counts)
        else:
            result = array("f", (value / entry.calls for value in sums)) if entry.calls > 0 else sums
        if not all(map(math.isfinite, result)):
            raise QuantizeError(
                f"importance matrix {self.path.name} has values for {name} that are not finite"
            )
        return result


def _floats(data: bytes) -> array[float]:
    """Little-endian float32 values; an incomplete last value is ignored."""
    values = array("f")
    values.frombytes(data[: len(data) // 4 * 4])
    return values


def _normalized(sums: array[float], counts: array[float]) -> array[float]:
    """Sums divided by the count of each expert; an expert that was never used gets equal values."""
    width = len(sums) // len(counts)
    result = array("f")
    for index, count in enumerate(counts):
        part = sums[index * width : (index + 1) * width]
        # Counts are integers; llama-quantize rounds them, halves away from zero.
        whole = math.floor(count + 0.5) if math.isfinite(count) else 0
        result.extend(
            part if whole == 1 else (value / whole for value in part) if whole > 0 else [1.0] * width
        )
    return result


def _open_gguf(path: Path) -> Imatrix:
    gguf = GGUFFile.open(path)
    missing = [key for key in _METADATA if key not in gguf.metadata]
    if missing:
        raise QuantizeError(f"{path.name} is not an importance matrix: it has no {missing[0]}")
    tensors = {tensor.name: tensor for tensor in gguf.tensors}
    entries = {}
    for name, sums in tensors.items():
        if not name.endswith(_SUMS):
            continue
        base = name.removesuffix(_SUMS)
        counts = tensors.get(base + _COUNTS)
        if counts is None or sums.n_elements % counts.n_elements:
            raise QuantizeError(f"importance matrix {path.name}: mismatched sums and counts for {base}")
        if (sums.type_name, counts.type_name) != ("F32", "F32"):
            raise QuantizeError(f"importance matrix {path.name}: sums and counts for {base} must be F32")
        entries[base] = _Entry(
            _start(gguf, sums), sums.n_elements, 0, _start(gguf, counts), counts.n_elements
        )
    if not entries:
        raise QuantizeError(f"importance matrix {path.name} has no entries")
    datasets = gguf.metadata["imatrix.datasets"]
    texts = datasets.values() if isinstance(datasets, GGUFArray) and datasets.element_type == "string" else []
    chunks = gguf.metadata["imatrix.chunk_count"]
    return Imatrix(path, texts[0] if texts else "", chunks if isinstance(chunks, int) else 0, entries)


def _start(gguf: GGUFFile, tensor: TensorInfo) -> int:
    return gguf.data_offset + tensor.offset


def _open_legacy(path: Path) -> Imatrix:
    """Entries of name, number of calls, number of values, values; then optionally chunks and data set."""
    size = path.stat().st_size
    with path.open("rb") as file:

        def number() -> int:
            value: int = _INT.unpack(file.read(4))[0]
            return value

        count = number()
        if not 0 < count <= _MAX_ENTRIES:
            raise QuantizeError(f"{path.name} is not an importance matrix")
        entries = {}
        for _ in range(count):
            name_bytes = number()
            if not 0 < name_bytes <= _MAX_NAME_BYTES:
                raise QuantizeError(f"{path.name} is not an importance matrix")
            name = file.read(name_bytes).decode("utf-8", "replace")
            calls, length = number(), number()
            offset = file.tell()
            if length < 1 or offset + 4 * length > size:
                raise QuantizeError(f"importance matrix {path.name} is truncated")
            entries[name] = _Entry(offset, length, calls)
            file.seek(4 * length, 1)
        rest = file.read(8)
        chunks, text_bytes = struct.unpack("<ii", rest) if len(rest) == 8 else (0, 0)
        dataset = file.read(min(max(text_bytes, 0), _MAX_NAME_BYTES)).decode("utf-8", "replace")
    return Imatrix(path, dataset, chunks, entries)
