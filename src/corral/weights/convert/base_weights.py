"""Weights of a GGUF file as float32, a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from math import prod

import numpy as np

from corral.errors import ConversionError, QuantizeError
from corral.weights.convert.lazy import Array, DType, Lazy, to_float32
from corral.weights.gguf import GGUFFile, TensorInfo
from corral.weights.gguf.names import row_bytes
from corral.weights.quantize.kernels import float32_bytes

_STRIP_ELEMENTS = 4 * 2**20


def base_weights(model: GGUFFile, tensor: TensorInfo) -> Lazy:
    """The values of a tensor, in PyTorch's order.

    Raises:
        ConversionError: while reading: a type that cannot be converted to numbers.
    """
    shape = tensor.shape[::-1]
    columns = prod(tensor.shape[:1])
    rows = tensor.n_elements // columns
    strip = max(1, _STRIP_ELEMENTS // columns)
    bytes_of_row = row_bytes(tensor.type_name, columns)

    def parts() -> Iterator[Array]:
        with model.path.open("rb") as file:
            file.seek(model.data_offset + tensor.offset)
            for start in range(0, rows, strip):
                count = min(strip, rows - start)
                data = file.read(count * bytes_of_row)
                if tensor.type_name != "F32":
                    try:
                        data = float32_bytes(tensor.type_name, data, count * columns)
                    except QuantizeError as exc:
                        raise ConversionError(f"the base model's {tensor.name}: {exc}") from exc
                yield np.frombuffer(data, np.float32)

    return Lazy(shape, DType.F32, parts)


def difference(new: Lazy, old: Lazy) -> Lazy:
    """The new values minus the old ones."""

    def parts() -> Iterator[Array]:
        for wanted, present in _together(new, old):
            yield wanted - present

    return Lazy(new.shape, DType.F32, parts)


def distance(new: Lazy, old: Lazy) -> float:
    """The relative distance of two tensors; 0 if they are equal."""
    apart = length = 0.0
    for wanted, present in _together(new, old):
        apart += float(np.square(wanted - present, dtype=np.float64).sum())
        length += float(np.square(present, dtype=np.float64).sum())
    return math.sqrt(apart / length) if length else math.inf


def _together(new: Lazy, old: Lazy) -> Iterator[tuple[Array, Array]]:
    """Both tensors in pieces of equal lengths."""
    others = (to_float32(piece, old.dtype).reshape(-1) for piece in old.parts())
    rest = np.empty(0, np.float32)
    for piece in new.parts():
        wanted = to_float32(piece, new.dtype).reshape(-1)
        while wanted.size:
            rest = rest if rest.size else next(others)
            count = min(wanted.size, rest.size)
            yield wanted[:count], rest[:count]
            wanted, rest = wanted[count:], rest[count:]
