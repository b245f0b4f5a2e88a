"""The order of tensors and the values in files of llama-quantize."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from corral.weights.gguf import GGUFFile, encode_value

_BLOCK = re.compile(r"blk\.(\d+)\.")
_QUANTIZATION_VERSION = 2


def in_model_order(names: Iterable[str]) -> list[str]:
    """llama.cpp's order of tensors: those outside of blocks first, then block by block, each by name."""

    def key(name: str) -> tuple[int, bytes]:
        match = _BLOCK.match(name)
        return (int(match[1]) if match else -1, name.encode())

    return sorted(names, key=key)


def llama_values(gguf: GGUFFile, file_type: Any) -> dict[str, bytes]:
    """A file's values in llama-quantize's order: the two about quantisation last."""
    values = gguf.raw_values()
    for key in ("general.quantization_version", "general.file_type"):
        values.pop(key, None)
    values["general.quantization_version"] = encode_value(_QUANTIZATION_VERSION, "uint32")
    values["general.file_type"] = encode_value(file_type if isinstance(file_type, int) else 0, "uint32")
    return values
