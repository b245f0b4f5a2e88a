"""Laguna: rope values of the sliding window and the attention gate under other names."""

from __future__ import annotations

from corral.weights.translate.translated_file import TranslatedFile

_KEYS = (
    ("rope.swa.dimension_count", "rope.dimension_count_swa"),
    ("rope.swa.freq_base", "rope.freq_base_swa"),
)


def text(view: TranslatedFile) -> bool:
    is_ours = any(f"laguna.{old}" in view.values for old, _ in _KEYS) or "blk.0.attn_g.weight" in view.tensors
    if not is_ours:
        return False
    for old, new in _KEYS:
        view.copy(f"laguna.{old}", f"laguna.{new}")
    view.rename([(".attn_g.weight", ".attn_gate.weight")])
    return True
