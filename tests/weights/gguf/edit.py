"""Fixtures with other metadata, for tests that need models which differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.weights.gguf import GGUFFile, NewTensor, build_header, encode_value


def edited(source: Path, destination: Path, values: Mapping[str, tuple[Any, Any] | None]) -> Path:
    """Copy a GGUF file with some values set (`(value, type name)`) or left out (None)."""
    gguf = GGUFFile.open(source)
    raw = gguf.raw_values()
    for key, value in values.items():
        raw.pop(key, None)
        if value is not None:
            raw[key] = encode_value(*value)
    header = build_header(raw, [NewTensor(t.name, t.shape, t.type_name) for t in gguf.tensors])
    data = source.read_bytes()
    out = bytearray(header.data.ljust(header.file_bytes, b"\0"))
    for tensor, offset in zip(gguf.tensors, header.offsets, strict=True):
        start = gguf.data_offset + tensor.offset
        out[offset : offset + tensor.size_bytes] = data[start : start + tensor.size_bytes]
    destination.write_bytes(out)
    return destination
