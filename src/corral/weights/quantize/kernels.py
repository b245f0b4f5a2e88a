"""The engine's own quantisation kernels, called through ctypes, which releases the GIL: threads run in parallel.

The extension module of `xllamacpp` exports ggml's C interface. The caller provides all buffers.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from typing import Any

from corral.errors import QuantizeError
from corral.weights.gguf.names import TENSOR_TYPE_NUMBERS

_TO_FLOAT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class _Traits(ctypes.Structure):
    """The needed part of `struct ggml_type_traits` in ggml.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("block_elements", ctypes.c_int64),
        ("interleave", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", _TO_FLOAT),
    )


@cache
def load() -> Any:
    """The engine's library, with the types of the functions that are called.

    Raises:
        QuantizeError: the engine is not installed, or does not export its kernels.
    """
    found = importlib.util.find_spec("xllamacpp.xllamacpp")
    if found is None or found.origin is None:
        raise QuantizeError(
            "quantising needs the built-in engine, the package xllamacpp, which is not installed"
        )
    try:
        library = ctypes.CDLL(found.origin)
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_quantize_chunk.argtypes = [
            ctypes.c_int, pointer, pointer, integer, integer, integer, pointer,
        ]  # fmt: skip
        library.ggml_validate_row_data.restype = ctypes.c_bool
        library.ggml_validate_row_data.argtypes = [ctypes.c_int, pointer, ctypes.c_size_t]
        library.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
        library.ggml_get_type_traits.argtypes = [ctypes.c_int]
        for name in ("ggml_fp16_to_fp32_row", "ggml_bf16_to_fp32_row"):
            function = getattr(library, name)
            function.restype = None
            function.argtypes = [pointer, pointer, integer]
    except (OSError, AttributeError) as exc:
        raise QuantizeError(f"the engine at {found.origin} has no quantisation kernels: {exc}") from exc
    return library


def to_float32(type_name: str, source: int, target: int, n_elements: int) -> None:
    """Weights of any type as float32. `source` and `target` are addresses.

    Raises:
        QuantizeError: the type has no such kernel.
    """
    library = load()
    if type_name == "F16":
        library.ggml_fp16_to_fp32_row(source, target, n_elements)
    elif type_name == "BF16":
        library.ggml_bf16_to_fp32_row(source, target, n_elements)
    else:
        convert = library.ggml_get_type_traits(TENSOR_TYPE_NUMBERS[type_name]).contents.to_float
        if not convert:
            raise QuantizeError(f"weights of type {type_name} cannot be converted")
        convert(source, target, n_elements)


def quantize_rows(
    type_name: str, source: int, target: int, n_rows: int, row_elements: int, importance: int | None
) -> int:
    """Quantise rows of float32; returns the bytes written. `importance`: address of a float32 row."""
    written: int = load().ggml_quantize_chunk(
        TENSOR_TYPE_NUMBERS[type_name], source, target, 0, n_rows, row_elements, importance
    )
    return written


def is_valid(type_name: str, address: int, size_bytes: int) -> bool:
    """Whether blocks contain neither NaN nor infinity. Types without a check pass."""
    return bool(load().ggml_validate_row_data(TENSOR_TYPE_NUMBERS[type_name], address, size_bytes))


def float32_bytes(type_name: str, data: bytes, n_elements: int) -> bytes:
    """Weights of any type as little-endian float32; for tensors that fit into memory twice.

    Raises:
        QuantizeError: the type has no such kernel.
    """
    source = (ctypes.c_char * len(data)).from_buffer_copy(data)
    target = (ctypes.c_char * (4 * n_elements))()
    to_float32(type_name, ctypes.addressof(source), ctypes.addressof(target), n_elements)
    return bytes(target)
