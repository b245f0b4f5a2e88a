"""The module for each architecture, and whether a file needs translation. Source of the table: llama/compat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corral.errors import GGUFError
from corral.weights.gguf import GGUFFile
from corral.weights.translate import clip
from corral.weights.translate.families import (
    bert,
    deepseekocr,
    gemma3,
    gemma3n,
    gemma4,
    glm4moelite,
    glmocr,
    gptoss,
    laguna,
    lfm2,
    llama3,
    llama4,
    llava,
    mistral3,
    nemotron,
    olmo3,
    qwen3next,
    qwen3vl,
    qwen25vl,
)
from corral.weights.translate.translated_file import TranslatedFile

# Part of the names of stored views: increase it whenever a translation changes.
VERSION = 1


@dataclass(frozen=True, slots=True)
class _Family:
    """`text` changes a view and returns whether this was necessary; `projector` makes the vision part."""

    text: Callable[[TranslatedFile], bool]
    projector: Callable[[TranslatedFile], None] | None = None


_FAMILIES: dict[str, _Family] = {
    "bert": _Family(bert.text),
    "clip": _Family(llava.text),
    "deepseekocr": _Family(deepseekocr.text, deepseekocr.projector),
    "gemma3": _Family(gemma3.text, gemma3.projector),
    "gemma3n": _Family(gemma3n.text),
    "gemma4": _Family(gemma4.text, gemma4.projector),
    "glm4moelite": _Family(glm4moelite.text),
    "glmocr": _Family(glmocr.text, glmocr.projector),
    "gptoss": _Family(gptoss.text),
    "laguna": _Family(laguna.text),
    "lfm2": _Family(lfm2.text),
    "llama": _Family(llama3.text),
    "llama4": _Family(llama4.text, llama4.projector),
    "mistral3": _Family(mistral3.text, mistral3.projector),
    "nemotron_h_moe": _Family(nemotron.text),
    "nemotron_h_omni": _Family(nemotron.omni_text, nemotron.projector),
    "olmo3": _Family(olmo3.text),
    "qwen25vl": _Family(qwen25vl.text, qwen25vl.projector),
    "qwen35": _Family(qwen3next.text, qwen3next.projector),
    "qwen35moe": _Family(qwen3next.text, qwen3next.projector),
    "qwen3next": _Family(qwen3next.next_text),
    "qwen3vl": _Family(qwen3vl.text, qwen3vl.projector),
    "qwen3vlmoe": _Family(qwen3vl.text, qwen3vl.projector),
}


def text_view(gguf: GGUFFile) -> TranslatedFile | None:
    """The file in the engine's layout; None if the file needs no translation.

    Raises:
        GGUFError: values or tensors that the translation needs are missing.
        OSError
    """
    family = _FAMILIES.get(gguf.architecture)
    if family is None:
        return None
    view = TranslatedFile(gguf)
    return view if family.text(view) else None


def needs_translation(gguf: GGUFFile) -> bool:
    """Whether the engine would refuse or misread a file. Also True if the translation will fail with an error."""
    if gguf.architecture not in _FAMILIES:
        return False
    try:
        return text_view(gguf) is not None
    except (GGUFError, OSError):
        return True


def embeds_projector(gguf: GGUFFile) -> bool:
    """Whether a file that needs translation also has a vision part."""
    family = _FAMILIES.get(gguf.architecture)
    has_part = family is not None and family.projector is not None
    return has_part and any(tensor.name.startswith("v.") for tensor in gguf.tensors)


def projector_view(gguf: GGUFFile) -> TranslatedFile | None:
    """The vision (and audio) part of a file that contains both parts; None if it has none.

    Raises:
        GGUFError, OSError: as `text_view`.
    """
    family = _FAMILIES.get(gguf.architecture)
    if family is None or family.projector is None or not embeds_projector(gguf) or text_view(gguf) is None:
        return None
    view = TranslatedFile(gguf)
    family.projector(view)
    clip.finish(view)
    return view
