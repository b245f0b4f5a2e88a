"""Gemma 4: separate gate and up projections of the experts, and vision and audio towers in the same file."""

from __future__ import annotations

import re

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_TOWERS = ("a.", "v.", "mm.", "model.vision_tower.")
_GATE = re.compile(r"(blk\.\d+\.)ffn_gate_exps\.weight")
_AUDIO_LEAVES = (
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_epsilon",
)
_AUDIO_NAMES = (
    (".ln1", ".attn_pre_norm"),
    (".ln2", ".attn_post_norm"),
    (".layer_pre_norm", ".ln2"),
    (".linear_pos", ".attn_k_rel"),
)


def text(view: TranslatedFile) -> bool:
    is_llama = view.get("tokenizer.ggml.model") == "llama"
    if not is_llama and not view.has(*_TOWERS):
        return False
    if is_llama:
        view.put("tokenizer.ggml.model", "gemma4", "string")
    view.hide(*_TOWERS)
    for name in list(view.tensors):
        if match := _GATE.fullmatch(name):
            _fuse_experts(view, match[1])
    view.rename([(".ffn_gate_inp.per_expert_scale", ".ffn_down_exps.scale")])
    return True


def _fuse_experts(view: TranslatedFile, block: str) -> None:
    """Join gate and up of each expert, unless they differ or have their own scales."""
    gate, up = f"{block}ffn_gate_exps.weight", f"{block}ffn_up_exps.weight"
    fused = f"{block}ffn_gate_up_exps.weight"
    scales = [
        f"{block}ffn_{part}_exps.{leaf}" for part in ("gate", "up") for leaf in ("scale", "input_scale")
    ]
    if up not in view.tensors or any(name in view.tensors for name in (fused, *scales)):
        return
    first, second = view.tensors[gate], view.tensors[up]
    if first.shape != second.shape or first.type_name != second.type_name or len(first.shape) != 3:
        return
    width, ff, experts = first.shape
    view.interleave(fused, gate, up, (width, 2 * ff, experts), experts)


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "gemma4v",
        kind_key="clip.vision.projector_type",
        leaves=("feed_forward_length", "attention.layer_norm_epsilon"),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    view.inject("clip.vision.image_size", 224, "uint32")
    view.keep("v.", "mm.", "a.")
    view.promote("v.patch_embd.weight")
    if view.has("a."):
        _audio(view)


def _audio(view: TranslatedFile) -> None:
    view.put("clip.audio.projector_type", "gemma4a", "string")
    view.inject("clip.has_audio_encoder", True, "bool")
    clip.copy_leaves(view, _AUDIO_LEAVES, source="audio", target="audio")
    view.inject("clip.audio.num_mel_bins", 128, "uint32")
    view.copy(f"{view.architecture}.embedding_length", "clip.audio.projection_dim")
    view.rename([("a.pre_encode.out.weight", "a.input_projection.weight"), ("mm.a.fc.", "a.pre_encode.out.")])

    def renamed(name: str) -> str:
        """Rename the four norms in order; otherwise a new name would match a later rule."""
        if name.startswith("a.blk."):
            for old, new in _AUDIO_NAMES:
                if old in name:
                    return name.replace(old, new, 1)
        return name

    view.map_names(renamed)
