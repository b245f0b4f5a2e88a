"""Mistral 3 (with Pixtral's vision tower) and Ministral 3: yarn values under other names, both parts in one file."""

from __future__ import annotations

import re

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_SIGNS = (
    "mistral3.rope.scaling.beta_fast",
    "mistral3.rope.scaling.mscale_all_dim",
    "mistral3.rope.scaling_beta",
)
_KEYS = (
    ("rope.scaling.beta_fast", "rope.scaling.yarn_beta_fast"),
    ("rope.scaling.beta_slow", "rope.scaling.yarn_beta_slow"),
    ("rope.scaling.mscale_all_dim", "rope.scaling.yarn_log_multiplier"),
    ("rope.scaling_beta", "attention.temperature_scale"),
)
_ATTENTION = re.compile(r"v\.blk\.\d+\.attn_[qk]\.weight")
_NAMES = (
    ("v.patch_conv", "v.patch_embd"),
    ("v.encoder_norm", "v.pre_ln"),
    (".attn_output", ".attn_out"),
    (".attn_norm", ".ln1"),
    (".ffn_norm", ".ln2"),
    ("mm.linear_1", "mm.1"),
    ("mm.linear_2", "mm.2"),
    ("mm.patch_merger.merging_layer", "mm.patch_merger"),
    ("mm.norm", "mm.input_norm"),
)


def text(view: TranslatedFile) -> bool:
    if not view.has("v.", "mm.") and not any(key in view.values for key in _SIGNS):
        return False
    for old, new in _KEYS:
        view.copy(f"mistral3.{old}", f"mistral3.{new}")
    if view.get("tokenizer.ggml.pre", "") in ("", "default"):
        view.put("tokenizer.ggml.pre", "tekken", "string")
    view.hide("v.", "mm.")
    return True


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "pixtral",
        leaves=("feed_forward_length", "image_size", "num_channels"),
        mean=(0.48145467, 0.45782750, 0.40821072),
        std=(0.26862955, 0.26130259, 0.27577710),
        activation="silu",
    )
    view.copy("mistral3.spatial_merge_size", "clip.vision.spatial_merge_size")
    view.copy("mistral3.vision.rope.freq_base", "clip.rope.freq_base")
    view.inject("clip.vision.attention.layer_norm_epsilon", 1e-5, "float32")
    view.keep("v.", "mm.")
    heads = view.own_number("vision.attention.head_count")
    for name, tensor in list(view.tensors.items()):
        if tensor.type_name == "F16" and _ATTENTION.fullmatch(name):
            view.permute_rows(name, heads)
    # The row between lines of patches: published files do not have it, and Ollama uses zeros.
    view.zeros("v.token_embd.img_break", (view.own_number("embedding_length"),))
    view.rename(_NAMES)
    view.promote("v.patch_embd.weight")
