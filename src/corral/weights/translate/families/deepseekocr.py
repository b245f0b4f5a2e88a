"""DeepSeek OCR: a small DeepSeek 2, and two vision towers in the same file."""

from __future__ import annotations

from corral.weights.translate import clip
from corral.weights.translate.translated_file import TranslatedFile

_NAMES = (
    ("v.sam.position_embd", "v.sam.pos_embd.weight"),
    (".self_attn.out_proj", ".attn_out"),
    (".self_attn.qkv_proj", ".attn_qkv"),
    (".layer_norm1", ".ln1"),
    (".layer_norm2", ".ln2"),
    (".mlp.fc1", ".ffn_up"),
    (".mlp.fc2", ".ffn_down"),
    ("v.pre_layrnorm", "v.pre_ln"),
    (".attn.proj", ".attn.out"),
    (".attn.rel_pos_h", ".attn.pos_h.weight"),
    (".attn.rel_pos_w", ".attn.pos_w.weight"),
    (".norm1", ".pre_ln"),
    (".norm2", ".post_ln"),
    ("mm.layers", "mm.model.fc"),
    ("mm.image_newline", "v.image_newline"),
    ("mm.view_seperator", "v.view_seperator"),
)


def text(view: TranslatedFile) -> bool:
    view.copy_prefix("deepseek2-ocr")
    view.inject("deepseek2-ocr.attention.layer_norm_rms_epsilon", 1e-6, "float32")
    if "blk.1.ffn_down_exps.weight" in view.tensors:
        width = view.columns("blk.1.ffn_down_exps.weight")
        view.inject("deepseek2-ocr.expert_feed_forward_length", width, "uint32")
        if "blk.1.ffn_down_shexp.weight" in view.tensors:
            shared = view.columns("blk.1.ffn_down_shexp.weight") // width
            view.inject("deepseek2-ocr.expert_shared_count", shared, "uint32")
    view.hide("s.", "v.", "mm.")
    return True


def projector(view: TranslatedFile) -> None:
    clip.start(view, "deepseekocr", is_standard=False, activation="gelu")
    clip.copy_leaves(view, ("block_count", "embedding_length", "patch_size", "image_size"))
    view.copy("deepseekocr.vision.head_count", "clip.vision.attention.head_count")
    for leaf in ("block_count", "embedding_length", "head_count"):
        view.copy(f"deepseekocr.sam.{leaf}", f"clip.vision.sam.{leaf}")
    for name, value in (
        ("feed_forward_length", 64),
        ("projection_dim", 1280),
        ("projector.scale_factor", 1),
        ("window_size", 14),
    ):
        view.inject(f"clip.vision.{name}", value, "uint32")
    view.inject("clip.vision.attention.layer_norm_epsilon", 1e-6, "float32")
    view.keep("s.", "v.", "mm.")
    view.map_names(lambda name: f"v.sam.{name[2:]}" if name.startswith("s.") else name)
    view.rename(_NAMES)
    view.promote("v.patch_embd.weight", "v.sam.patch_embd.weight", "v.position_embd.weight")
