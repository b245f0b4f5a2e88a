"""Gemma 3: rope and epsilon values under other names, a vision tower in the same file; EmbeddingGemma likewise."""

from __future__ import annotations

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_SIGNS = ("gemma3.mm.tokens_per_image", "gemma3.rope.global.freq_base", "gemma3.rope.local.freq_base",
          "tokenizer.ggml.add_padding_token", "tokenizer.ggml.add_unknown_token")  # fmt: skip
_EPSILON = "gemma3.attention.layer_norm_rms_epsilon"
_LONG_CONTEXT = 131_072
_VISION_NAMES = (
    ("v.patch_embedding", "v.patch_embd"),
    ("v.position_embedding", "v.position_embd"),
    ("v.post_layernorm", "v.post_ln"),
    (".layer_norm1", ".ln1"),
    (".layer_norm2", ".ln2"),
    (".attn_output", ".attn_out"),
    # Not a mistake: llama.cpp's converter has swapped the names of the two layers since its first vision model.
    (".mlp.fc1", ".ffn_down"),
    (".mlp.fc2", ".ffn_up"),
    ("mm.mm_input_projection", "mm.input_projection"),
    ("mm.mm_soft_emb_norm", "mm.soft_emb_norm"),
)


def text(view: TranslatedFile) -> bool:
    if "dense.0.weight" in view.tensors:
        _embedding(view)
        return True
    is_ours = view.has("v.", "mm.") or any(key in view.values for key in _SIGNS)
    if not is_ours and _EPSILON in view.values:
        return False
    view.copy("gemma3.rope.global.freq_base", "gemma3.rope.freq_base")
    view.copy("gemma3.rope.local.freq_base", "gemma3.rope.freq_base_swa")
    view.inject(_EPSILON, 1e-6, "float32")
    view.inject("gemma3.rope.freq_base", 1e6, "float32")
    view.inject("gemma3.rope.freq_base_swa", 1e4, "float32")
    if view.own_number("context_length", 0) >= _LONG_CONTEXT:
        view.inject("gemma3.rope.scaling.type", "linear", "string")
        view.inject("gemma3.rope.scaling.factor", 8.0, "float32")
    view.tokens_cut_to(view.rows("token_embd.weight"))
    view.hide("v.", "mm.")
    return True


def _embedding(view: TranslatedFile) -> None:
    """EmbeddingGemma: two dense layers after the pooling."""
    view.copy_prefix("gemma-embedding")
    view.drop("gemma-embedding.attention.causal", "gemma-embedding.attention.sliding_window_pattern")
    view.inject("gemma-embedding.rope.freq_base_swa", 1e4, "float32")
    for old, new in (("dense.0", "dense_2"), ("dense.1", "dense_3")):
        view.put(f"gemma-embedding.{new}_feat_in", view.columns(f"{old}.weight"), "uint32")
        view.put(f"gemma-embedding.{new}_feat_out", view.rows(f"{old}.weight"), "uint32")
    names = {"norm.weight": "output_norm.weight"}
    view.map_names(
        lambda name: names.get(name, name).replace("dense.0", "dense_2", 1).replace("dense.1", "dense_3", 1)
    )


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "gemma3",
        leaves=("feed_forward_length", "image_size", "attention.layer_norm_epsilon"),
        activation="gelu",
    )
    view.keep("v.", "mm.")
    view.rename(_VISION_NAMES)
    view.promote("v.patch_embd.weight", "v.position_embd.weight")
