"""OLMo 3: in llama.cpp it is OLMo 2 with a sliding window."""

from __future__ import annotations

from corral.weights.translate.translated_file import TranslatedFile


def text(view: TranslatedFile) -> bool:
    view.copy_prefix("olmo2")
    return True
