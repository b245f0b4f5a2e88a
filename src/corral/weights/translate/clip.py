"""The common part of projector views: the values of a vision tower under `clip.`, as llama.cpp's mtmd expects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from corral.weights.translate.translated_file import TranslatedFile

HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_STANDARD = ("block_count", "embedding_length", "attention.head_count", "patch_size")


def start(
    view: TranslatedFile,
    kind: str,
    *,
    leaves: Iterable[str] = (),
    mean: Sequence[float] = HALF,
    std: Sequence[float] = HALF,
    activation: Literal["gelu", "silu", ""] = "",
    kind_key: str = "clip.projector_type",
    is_standard: bool = True,
) -> None:
    """Set the common values. `leaves`: values of the tower that keep their names."""
    view.put("general.architecture", "clip", "string")
    view.inject("clip.has_vision_encoder", True, "bool")
    view.put(kind_key, kind, "string")
    if is_standard:
        copy_leaves(view, _STANDARD)
        view.copy(f"{view.architecture}.embedding_length", "clip.vision.projection_dim")
    copy_leaves(view, leaves)
    view.inject("clip.vision.image_mean", list(mean), "float32")
    view.inject("clip.vision.image_std", list(std), "float32")
    if activation:
        view.inject(f"clip.use_{activation}", True, "bool")


def copy_leaves(
    view: TranslatedFile, leaves: Iterable[str], *, source: str = "vision", target: str = "vision"
) -> None:
    """Copy values of a tower to `clip.`, with unchanged names."""
    for leaf in leaves:
        view.copy(f"{view.architecture}.{source}.{leaf}", f"clip.{target}.{leaf}")


def finish(view: TranslatedFile) -> None:
    """Drop what a projector does not need: the vocabulary and the values of the text model."""
    view.values = {key: value for key, value in view.values.items() if key.startswith(("general.", "clip."))}
