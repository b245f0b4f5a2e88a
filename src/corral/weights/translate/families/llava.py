"""Projectors of LLaVA and BakLLaVA from before llama.cpp distinguished projector types."""

from __future__ import annotations

from corral.weights.translate.translated_file import TranslatedFile

_KINDS = ("clip.projector_type", "clip.vision.projector_type")


def text(view: TranslatedFile) -> bool:
    if view.get("clip.has_vision_encoder") is not True or any(key in view.values for key in _KINDS):
        return False
    view.put("clip.projector_type", "mlp", "string")
    return True
