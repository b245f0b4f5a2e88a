"""Writes the GGUF file: metadata and tensor table, then one tensor after another as its values are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corral.disk import check_space, write_all
from corral.errors import ConversionError
from corral.weights.convert.lazy import DType, Lazy
from corral.weights.gguf.values import ValueKind, encode_value
from corral.weights.gguf.writer import Header, NewTensor, build_header

# Takes the bytes written and the total bytes.
Progress = Callable[[int, int], None]
_MAX_RANK = 4
# Tensors that Ollama always keeps in F32 (convert/tensor.go), and those that the engine only reads as F32.
_F32_SUFFIXES = (".bias", ".ffn_gate_inp.weight")
_FILE_TYPES = {DType.F32: 0, DType.F16: 1, DType.BF16: 32}
_F32_NAMES = ("token_types.weight", "position_embd.weight")


def stored_type(name: str, values: Lazy, *, keep_float32: bool) -> DType:
    """The type in which a tensor is written: vectors and some others F32, BF16 unchanged, everything else F16."""
    if len(values.shape) <= 1 or name.endswith(_F32_SUFFIXES) or name in _F32_NAMES:
        return DType.F32
    if values.dtype is DType.BF16:
        return DType.BF16
    if keep_float32 and values.dtype in (DType.F32, DType.F64):
        return DType.F32
    return DType.F16


@dataclass(frozen=True, slots=True)
class OutputTensor:
    name: str
    values: Lazy
    dtype: DType

    @property
    def size_bytes(self) -> int:
        return self.values.n_elements * self.dtype.size_bytes


class Output:
    """Collects metadata and tensors of one file, and writes it."""

    def __init__(self, architecture: str, *, keep_float32: bool = False, only_float32: bool = False) -> None:
        self.architecture = architecture
        self.tensors: dict[str, OutputTensor] = {}
        self._keep_float32 = keep_float32
        self._only_float32 = only_float32
        self._values: dict[str, bytes] = {}
        self.set("general.architecture", architecture)

    def set(self, key: str, value: str | bool) -> None:
        """Set a string or boolean. Keys that begin with a dot get the architecture as prefix."""
        self._put(key, value, "bool" if isinstance(value, bool) else "string")

    def set_int(self, key: str, value: int) -> None:
        self._put(key, value, "uint32")

    def set_float(self, key: str, value: float) -> None:
        self._put(key, value, "float32")

    def set_array(self, key: str, values: Sequence[Any], kind: ValueKind) -> None:
        """Set an array; an empty one is left out."""
        if values:
            self._put(key, list(values), kind)

    def _put(self, key: str, value: Any, kind: ValueKind) -> None:
        try:
            encoded = encode_value(value, kind)
        except UnicodeEncodeError as exc:
            raise ConversionError(f"{key} contains invalid Unicode") from exc
        self._values[self.architecture + key if key.startswith(".") else key] = encoded

    def add(self, name: str, values: Lazy) -> None:
        """Add a tensor.

        Raises:
            ConversionError: the name is taken, or the shape is impossible in GGUF.
        """
        if name in self.tensors:
            raise ConversionError(f"duplicate tensor name '{name}' was found for this model")
        if not values.shape:
            values = values.reshaped(1)
        if len(values.shape) > _MAX_RANK or 0 in values.shape:
            raise ConversionError(
                f'tensor "{name}" has the shape {list(values.shape)}, which GGUF cannot hold'
            )
        dtype = (
            DType.F32 if self._only_float32 else stored_type(name, values, keep_float32=self._keep_float32)
        )
        self.tensors[name] = OutputTensor(name, values, dtype)

    def write(self, destination: Path, on_progress: Progress | None) -> None:
        """Write everything; reports progress after each piece.

        Raises:
            ConversionError
            StoreError: not enough disk space.
            OSError
        """
        tensors = sorted(self.tensors.values(), key=lambda tensor: _order(tensor.name))
        self._set_file_type(tensors)
        header = build_header(
            self._values,
            [NewTensor(tensor.name, tensor.values.shape[::-1], tensor.dtype.name) for tensor in tensors],
        )
        check_space(destination, header.file_bytes)
        with destination.open("wb") as file:
            fd = file.fileno()
            write_all(fd, header.data, 0)
            # Gaps between tensors and after the last one read as zeros.
            os.truncate(fd, header.file_bytes)
            _write_data(fd, header, tensors, on_progress)

    def _set_file_type(self, tensors: Sequence[OutputTensor]) -> None:
        sizes = dict.fromkeys(_FILE_TYPES, 0)
        for tensor in tensors:
            sizes[tensor.dtype] += tensor.values.n_elements
        self.set_int("general.file_type", _FILE_TYPES[max(sizes, key=lambda dtype: sizes[dtype])])
        self.set_int("general.quantization_version", 2)


def _write_data(
    fd: int, header: Header, tensors: Sequence[OutputTensor], on_progress: Progress | None
) -> None:
    total, done = sum(tensor.size_bytes for tensor in tensors), 0
    for tensor, offset in zip(tensors, header.offsets, strict=True):
        position = offset
        for piece in tensor.values.cast(tensor.dtype, tensor.name):
            write_all(fd, piece.reshape(-1).view(np.uint8).data, position)
            position += piece.nbytes
            done += piece.nbytes
            if on_progress is not None:
                on_progress(done, total)
        assert position == offset + tensor.size_bytes, tensor.name


def _order(name: str) -> tuple[int, int, str]:
    """Blocks by number, then everything else, each by name (ollama: fs/ggml/gguf.go)."""
    parts = name.split(".")
    is_block = len(parts) > 1 and parts[0] == "blk" and parts[1].isdigit()
    return (0, int(parts[1]), name) if is_block else (1, 0, name)
