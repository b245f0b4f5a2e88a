"""Tensor values that are read when they are written, so only one tensor at a time is in memory.

Rearranging moves raw elements of any type (BF16 as its 16 bits); arithmetic is done in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

import numpy as np

from corral.errors import ConversionError

Array = np.ndarray[Any, Any]
_CHUNK_ELEMENTS = 4 * 2**20


class DType(Enum):
    """Element types that can be converted; the value is numpy's type for the stored bits."""

    F64 = "<f8"
    F32 = "<f4"
    F16 = "<f2"
    BF16 = "<u2"

    @property
    def size_bytes(self) -> int:
        return np.dtype(self.value).itemsize


@dataclass(frozen=True, slots=True)
class Lazy:
    """Values of one tensor in PyTorch's order, slowest dimension first.

    `parts` yields consecutive pieces of the tensor's elements in C order.
    """

    shape: tuple[int, ...]
    dtype: DType
    parts: Callable[[], Iterator[Array]]

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    def load(self) -> Array:
        """The whole tensor in one array of the stored type."""
        flat = np.empty(self.n_elements, self.dtype.value)
        position = 0
        for piece in self.parts():
            flat[position : position + piece.size] = piece.reshape(-1)
            position += piece.size
        return flat.reshape(self.shape)

    def reshaped(self, *shape: int) -> Lazy:
        assert prod(shape) == self.n_elements, (self.shape, shape)
        return Lazy(shape, self.dtype, self.parts)

    def rearranged(self, shape: tuple[int, ...], change: Callable[[Array], Array]) -> Lazy:
        """The result of a function that moves elements; `shape` is the shape of the result."""

        def parts() -> Iterator[Array]:
            changed = change(self.load())
            assert changed.shape == shape, (changed.shape, shape)
            yield np.ascontiguousarray(changed)

        return Lazy(shape, self.dtype, parts)

    def computed(self, change: Callable[[Array], Array]) -> Lazy:
        """The result of a function on each element, in float32."""

        def parts() -> Iterator[Array]:
            for piece in self.parts():
                yield change(to_float32(piece, self.dtype))

        return Lazy(self.shape, DType.F32, parts)

    def rows(self, start: int, stop: int) -> Lazy:
        """A range of the first dimension."""
        return self.rearranged((stop - start, *self.shape[1:]), lambda values: values[start:stop])

    def permuted(self, n_head: int) -> Lazy:
        """Reorder the rows of each head from half-split to interleaved rotary order: [2, hd/2] becomes [hd/2, 2]."""
        rows = self.shape[0]
        if n_head <= 0 or rows % (2 * n_head):
            raise ConversionError(f"{rows} rows cannot be divided into {n_head} heads")

        def change(values: Array) -> Array:
            by_head = values.reshape(n_head, 2, rows // n_head // 2, *self.shape[1:])
            swapped: Array = by_head.swapaxes(1, 2).reshape(self.shape)
            return swapped

        return self.rearranged(self.shape, change)

    @staticmethod
    def stacked(tensors: Sequence[Lazy]) -> Lazy:
        """Stack tensors of one shape along a new first dimension."""
        first = tensors[0]

        def parts() -> Iterator[Array]:
            for tensor in tensors:
                yield from tensor.parts()

        return Lazy((len(tensors), *first.shape), first.dtype, parts)

    @staticmethod
    def joined(tensors: Sequence[Lazy]) -> Lazy:
        """Concatenate tensors along their first dimension."""
        first = tensors[0]
        shape = (sum(tensor.shape[0] for tensor in tensors), *first.shape[1:])
        return Lazy(shape, first.dtype, Lazy.stacked(tensors).parts)

    def cast(self, target: DType, name: str) -> Iterator[Array]:
        """The pieces in another type.

        Raises:
            ConversionError: a value does not fit into F16.
        """
        for piece in self.parts():
            if target is self.dtype:
                yield piece
                continue
            for start in range(0, piece.size, _CHUNK_ELEMENTS):
                values = to_float32(piece.reshape(-1)[start : start + _CHUNK_ELEMENTS], self.dtype)
                yield from_float32(values, target, name)


def to_float32(values: Array, dtype: DType) -> Array:
    if dtype is DType.BF16:
        wide: Array = (values.astype(np.uint32) << 16).view(np.float32)
        return wide
    return values.astype(np.float32, copy=False)


def from_float32(values: Array, target: DType, name: str) -> Array:
    if target is DType.F32:
        return values
    if target is DType.BF16:
        bits = values.view(np.uint32)
        # Round to nearest, ties to even; NaN stays NaN.
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
        return np.where(np.isnan(values), (bits >> 16) | 64, rounded).astype(np.uint16)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if np.isinf(halves).any() and not np.array_equal(np.isinf(halves), np.isinf(values)):
        raise ConversionError(
            f'tensor "{name}" has values beyond the range of F16; convert to F32 instead (quantize "F32")'
        )
    return halves


def constant(values: Sequence[float]) -> Lazy:
    """A float32 vector of known values."""
    return Lazy((len(values),), DType.F32, lambda: iter([np.array(values, np.float32)]))
