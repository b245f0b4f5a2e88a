"""Conversion of a PEFT LoRA adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from corral.errors import ConversionError

__all__ = ["convert_adapter"]


def convert_adapter(
    files: Mapping[str, Path],
    base: Path,
    destination: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the GGUF file of a LoRA adapter for the model in `base`, a GGUF file."""
    raise ConversionError("adapters cannot be converted yet")
