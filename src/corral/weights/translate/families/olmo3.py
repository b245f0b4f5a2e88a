"""OLMo 3: llama.cpp knows it as OLMo 2 with a sliding window."""

from __future__ import annotations

from corral.weights.translate.view import View


def text(view: View) -> bool:
    view.copy_prefix("olmo2")
    return True
