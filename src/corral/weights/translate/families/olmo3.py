"""OLMo 3: in llama.cpp it is OLMo 2 with a sliding window."""

from __future__ import annotations

from corral.weights.translate.view import View


def text(view: View) -> bool:
    view.copy_prefix("olmo2")
    return True
