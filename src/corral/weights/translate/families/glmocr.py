"""GLM OCR: in llama.cpp its text part is GLM 4, with gate and up in one tensor."""

from __future__ import annotations

import re

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_GATE = re.compile(r"blk\.(\d+)\.ffn_gate\.weight")
_TEXT_NAMES = (
    (".attn_out.", ".attn_output."),
    (".post_attn_norm.", ".post_attention_norm."),
    (".post_ffn_norm.", ".post_ffw_norm."),
)
_VISION_NAMES = (
    ("v.patch_embd_0.weight", "v.patch_embd.weight"),
    ("v.patch_embd_1.weight", "v.patch_embd.weight.1"),
)


def text(view: TranslatedFile) -> bool:
    view.copy_prefix("glm4")
    sections = view.own("rope.mrope_section")
    if isinstance(sections, list) and len(sections) == 3:
        view.inject("glm4.rope.dimension_sections", [*sections, 0], "int32")
    view.copy("glmocr.attention.key_length", "glm4.rope.dimension_count")
    view.put("tokenizer.ggml.pre", "chatglm-bpe", "string")
    view.hide("v.", "mm.")
    for name in list(view.tensors):
        if match := _GATE.fullmatch(name):
            up = f"blk.{match[1]}.ffn_up.weight"
            width, rows = view.columns(name), view.rows(name)
            view.join(up, [name, up], (width, rows + view.rows(up)))
    view.rename(_TEXT_NAMES)
    return True


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "glm4v",
        leaves=("image_size", "spatial_merge_size", "image_mean", "image_std"),
        activation="silu",
        is_standard=False,
    )
    clip.copy_leaves(view, ("block_count", "embedding_length", "attention.head_count", "patch_size"))
    for old, new in (
        ("intermediate_size", "feed_forward_length"),
        ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"),
        ("out_hidden_size", "projection_dim"),
    ):
        view.copy(f"glmocr.vision.{old}", f"clip.vision.{new}")
    view.keep("v.", "mm.")
    view.rename(_VISION_NAMES)
    view.promote("v.patch_embd.weight", "v.patch_embd.weight.1")
