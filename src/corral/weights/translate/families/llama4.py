"""Llama 4: the vision tower in the same file."""

from __future__ import annotations

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_NAMES = (
    ("v.positional_embedding_vlm", "v.position_embd.weight"),
    ("v.vision_adapter.mlp.fc1", "mm.model.mlp.1"),
    ("v.vision_adapter.mlp.fc2", "mm.model.mlp.2"),
    ("mm.linear_1", "mm.model.fc"),
    ("v.class_embedding", "v.class_embd"),
    ("v.layernorm_post", "v.post_ln"),
    ("v.layernorm_pre", "v.pre_ln"),
    ("v.patch_embedding", "v.patch_embd"),
    (".attn_output", ".attn_out"),
    (".attn_norm", ".ln1"),
    (".ffn_norm", ".ln2"),
    (".mlp.fc1", ".ffn_up"),
    (".mlp.fc2", ".ffn_down"),
)


def text(view: TranslatedFile) -> bool:
    if not view.has("v.", "mm."):
        return False
    view.hide("v.", "mm.")
    return True


def projector(view: TranslatedFile) -> None:
    clip.start(view, "llama4", leaves=("feed_forward_length", "image_size"), activation="gelu")
    view.put("clip.vision.projector_type", "llama4", "string")
    view.copy("llama4.vision.layer_norm_epsilon", "clip.vision.attention.layer_norm_epsilon")
    ratio = view.own("vision.pixel_shuffle_ratio")
    scale = round(1 / ratio) if isinstance(ratio, float) and 0 < ratio <= 1 else 2
    view.inject("clip.vision.projector.scale_factor", scale, "uint32")
    view.keep("v.", "mm.")
    view.rename(_NAMES)
