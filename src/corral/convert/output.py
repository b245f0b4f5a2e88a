"""Writes the GGUF file: metadata and tensor table first, then tensor after tensor as their values are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corral.convert.lazy import DType, Lazy
from corral.errors import ConversionError

if TYPE_CHECKING:
    import gguf

__all__ = ["Output", "OutputTensor", "Progress", "stored_type"]

# Takes bytes done and bytes in total.
Progress = Callable[[int, int], None]
_ALIGNMENT = 32
_MAX_RANK = 4
# What Ollama keeps in F32 whatever its source (convert/tensor.go), and what the engine reads as F32 only.
_F32_SUFFIXES = (".bias", ".ffn_gate_inp.weight")
_F32_NAMES = ("token_types.weight", "position_embd.weight")


def stored_type(name: str, values: Lazy, *, keep_float32: bool) -> DType:
    """The type a tensor is written in: vectors and some others F32, BF16 as it is, everything else F16."""
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

    def __init__(self, architecture: str, *, keep_float32: bool) -> None:
        self.architecture = architecture
        self.tensors: dict[str, OutputTensor] = {}
        self._keep_float32 = keep_float32
        self._values: dict[str, tuple[Any, str, str]] = {}

    def set(self, key: str, value: str | bool) -> None:
        """A text or a truth value. Keys that begin with a dot belong to the architecture."""
        self._put(key, value, "BOOL" if isinstance(value, bool) else "STRING")

    def set_int(self, key: str, value: int) -> None:
        self._put(key, value, "UINT32")

    def set_float(self, key: str, value: float) -> None:
        self._put(key, value, "FLOAT32")

    def set_array(self, key: str, values: Sequence[Any], element: str) -> None:
        """An array; `element` is GGUF's name of the element type, such as `INT32`. An empty one is left out."""
        if values:
            self._put(key, values, "ARRAY", element)

    def get(self, key: str) -> Any:
        return self._values[self._full(key)][0] if self._full(key) in self._values else None

    def _full(self, key: str) -> str:
        return self.architecture + key if key.startswith(".") else key

    def _put(self, key: str, value: Any, kind: str, element: str = "") -> None:
        self._values[self._full(key)] = (value, kind, element)

    def add(self, name: str, values: Lazy) -> None:
        """Add a tensor.

        Raises:
            ConversionError: the name is taken, or no GGUF tensor can have this shape.
        """
        if name in self.tensors:
            raise ConversionError(f"duplicate tensor name '{name}' was found for this model")
        if not values.shape:
            values = values.reshaped(1)
        if len(values.shape) > _MAX_RANK or 0 in values.shape:
            raise ConversionError(
                f'tensor "{name}" has the shape {list(values.shape)}, which GGUF cannot hold'
            )
        self.tensors[name] = OutputTensor(
            name, values, stored_type(name, values, keep_float32=self._keep_float32)
        )

    def write(self, destination: Path, on_progress: Progress | None) -> None:
        """Write everything; progress after each piece.

        Raises:
            ConversionError
            OSError
        """
        import gguf

        tensors = sorted(self.tensors.values(), key=lambda tensor: _order(tensor.name))
        self._set_file_type(tensors)
        writer = gguf.GGUFWriter(None, self.architecture)
        kinds = gguf.GGUFValueType
        for key, (value, kind, element) in self._values.items():
            writer.add_key_value(key, value, kinds[kind], kinds[element] if element else None)
        for tensor in tensors:
            writer.add_tensor_info(
                tensor.name,
                tensor.values.shape,
                np.dtype(np.float32),
                tensor.size_bytes,
                raw_dtype=gguf.GGMLQuantizationType[tensor.dtype.name],
            )
        writer.write_header_to_file(destination)
        try:
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            self._write_data(writer, tensors, on_progress)
        finally:
            writer.close()

    def _write_data(
        self, writer: gguf.GGUFWriter, tensors: Sequence[OutputTensor], on_progress: Progress | None
    ) -> None:
        assert writer.fout is not None
        file = writer.fout[0]
        total, done = sum(tensor.size_bytes for tensor in tensors), 0
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for tensor in tensors:
            for piece in tensor.values.cast(tensor.dtype, tensor.name):
                file.write(piece.reshape(-1).view(np.uint8).data)
                done += piece.nbytes
                if on_progress is not None:
                    on_progress(done, total)
            file.write(bytes(-tensor.size_bytes % _ALIGNMENT))

    def _set_file_type(self, tensors: Sequence[OutputTensor]) -> None:
        sizes = dict.fromkeys((DType.F16, DType.BF16, DType.F32), 0)
        for tensor in tensors:
            sizes[tensor.dtype] += tensor.values.n_elements
        numbers = {DType.F32: 0, DType.F16: 1, DType.BF16: 32}
        self.set_int("general.file_type", numbers[max(sizes, key=lambda dtype: sizes[dtype])])
        self.set_int("general.quantization_version", 2)


def _order(name: str) -> tuple[int, int, str]:
    """Blocks by number, then everything else, each by name (ollama: fs/ggml/gguf.go)."""
    parts = name.split(".")
    is_block = len(parts) > 1 and parts[0] == "blk" and parts[1].isdigit()
    return (0, int(parts[1]), name) if is_block else (1, 0, name)
