"""Qwen 2.5 VL: another name, rope sections under another key, the vision tower in the same file."""

from __future__ import annotations

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_NAMES = (
    ("v.merger.ln_q", "v.post_ln"),
    ("v.merger.mlp.0", "mm.0"),
    ("v.merger.mlp.2", "mm.2"),
    ("v.patch_embd_0.weight", "v.patch_embd.weight"),
    ("v.patch_embd_1.weight", "v.patch_embd.weight.1"),
)


def text(view: TranslatedFile) -> bool:
    view.copy_prefix("qwen2vl")
    sections = view.own("rope.mrope_section")
    if isinstance(sections, list):
        view.inject("qwen2vl.rope.dimension_sections", [*sections[:3], 0], "int32")
    view.hide("v.", "mm.")
    return True


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "qwen2.5vl_merger",
        leaves=("attention.layer_norm_epsilon", "num_channels", "spatial_merge_size", "window_size"),
        mean=clip.CLIP_MEAN,
        std=clip.CLIP_STD,
        activation="silu",
    )
    view.inject("clip.vision.feed_forward_length", view.rows("v.blk.0.ffn_up.weight"), "uint32")
    full = view.own("vision.fullatt_block_indexes")
    first = full[0] if isinstance(full, list) and full and isinstance(full[0], int) else 7
    view.inject("clip.vision.n_wa_pattern", first + 1, "uint32")
    view.inject("clip.vision.image_size", 560, "uint32")
    view.keep("v.", "mm.")
    view.rename(_NAMES)
    view.promote("v.patch_embd.weight", "v.patch_embd.weight.1")
