"""Conversion of safetensors folders (models and PEFT adapters) to GGUF. Synchronous; run it in a separate process.

Nothing in the files is trusted: names in them are never used as paths, and pickles are never read. numpy is imported
on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corral.weights.convert.adapter import convert_adapter
    from corral.weights.convert.model import convert_model

__all__ = ["convert_adapter", "convert_model"]


def __getattr__(name: str) -> Any:
    if name == "convert_model":
        from corral.weights.convert.model import convert_model

        return convert_model
    if name == "convert_adapter":
        from corral.weights.convert.adapter import convert_adapter

        return convert_adapter
    raise AttributeError(name)
