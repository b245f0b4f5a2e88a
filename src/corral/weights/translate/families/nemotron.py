"""Nemotron H, also with experts, vision and audio: names of the latent projections, towers in the same file."""

from __future__ import annotations

import math
import struct

from corral.errors import GGUFError
from corral.weights.translate import clip
from corral.weights.translate.translated_file import Read, TranslatedFile, TranslatedTensor

_LATENT = ("blk.0.ffn_latent_in.weight", "blk.1.ffn_latent_in.weight")
_LEAVES = (
    "feed_forward_length",
    "attention.layer_norm_epsilon",
    "image_size",
    "num_channels",
    "projector.scale_factor",
    "image_mean",
    "image_std",
    "image_token_id",
    "start_token_id",
    "end_token_id",
    "max_tiles",
    "min_num_patches",
    "max_num_patches",
)
_VISION_NAMES = (
    ("v.cls_embd", "v.class_embd"),
    ("mm.norm", "mm.model.mlp.0"),
    ("mm.1", "mm.model.mlp.1"),
    ("mm.2", "mm.model.mlp.3"),
)


def text(view: TranslatedFile) -> bool:
    """Nemotron H with experts."""
    if not view.has(*_LATENT, "mtp."):
        return False
    _latent(view, "nemotron_h_moe")
    return True


def omni_text(view: TranslatedFile) -> bool:
    """Nemotron H Omni: its text model, with or without experts."""
    if not view.has("v.", "a.", "mm."):
        return False
    has_experts = any(view.own_number(leaf, 0) > 0 for leaf in ("expert_count", "expert_used_count"))
    new = "nemotron_h_moe" if has_experts else "nemotron_h"
    towers = ("nemotron_h_omni.vision.", "nemotron_h_omni.audio.")
    view.drop(*[key for key in view.values if key.startswith(towers)])
    view.copy_prefix(new)
    view.hide("a.", "v.", "mm.")
    if view.has(*_LATENT, "mtp."):
        _latent(view, new)
    return True


def _latent(view: TranslatedFile, architecture: str) -> None:
    first = next((name for name in view.tensors if name.endswith(".ffn_latent_in.weight")), None)
    if first is not None:
        view.put(f"{architecture}.moe_latent_size", view.rows(first), "uint32")
    view.hide("mtp.")
    view.rename([(".ffn_latent_in", ".ffn_latent_down"), (".ffn_latent_out", ".ffn_latent_up")])


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "nemotron_v2_vl",
        kind_key="clip.vision.projector_type",
        leaves=_LEAVES,
        mean=clip.CLIP_MEAN,
        std=clip.CLIP_STD,
        activation="gelu",
    )
    view.put("clip.has_audio_encoder", False, "bool")
    for leaf, value in (
        ("block_count", 32),
        ("embedding_length", 1280),
        ("attention.head_count", 16),
        ("patch_size", 16),
        ("image_size", 512),
        ("num_channels", 3),
        ("projector.scale_factor", 2),
    ):
        view.inject(f"clip.vision.{leaf}", value, "uint32")
    width = _number(view, "embedding_length")
    view.inject("clip.vision.feed_forward_length", 4 * width, "uint32")
    view.inject("clip.vision.attention.layer_norm_epsilon", 1e-6, "float32")
    view.keep("v.", "mm.")
    view.rename(_VISION_NAMES)
    view.promote("v.class_embd", "v.class_embd.weight")
    patch = _number(view, "patch_size")
    _resample_positions(view, _number(view, "image_size") // patch)
    _shape_patches(view, patch, width)


def _number(view: TranslatedFile, leaf: str) -> int:
    """A value of the tower, which must be positive."""
    value = view.get(f"clip.vision.{leaf}")
    if not isinstance(value, int) or value <= 0:
        raise GGUFError(f"the vision tower's {leaf} is {value!r}")
    return value


def _shape_patches(view: TranslatedFile, patch: int, width: int) -> None:
    """A matrix (pixels of a patch, width) as a convolution (patch, patch, channels, width)."""
    name = "v.patch_embd.weight"
    tensor = view.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2:
        return
    channels = tensor.shape[0] // (patch * patch)
    if channels * patch * patch != tensor.shape[0] or tensor.shape[1] != width:
        raise GGUFError(f"{name} has shape {tensor.shape}, which is not a patch of {patch} x {patch}")
    view.tensors[name] = TranslatedTensor((patch, patch, channels, width), "F32", make=tensor.floats)


def _resample_positions(view: TranslatedFile, side: int) -> None:
    """Position embeddings for `side` x `side` patches, bilinear, corners on corners."""
    name = "v.position_embd.weight"
    tensor = view.tensors.get(name)
    if tensor is None:
        return
    width, rows = tensor.shape[0], tensor.n_elements // tensor.shape[0]
    old_side = math.isqrt(rows)
    if old_side * old_side != rows or not 0 < side <= 4096:
        raise GGUFError(f"{name} has {rows} rows, which is not a square number")

    def make(read: Read) -> bytes:
        data = tensor.floats(read)
        return data if side == old_side else _bilinear(data, old_side, side, width)

    view.tensors[name] = TranslatedTensor((width, side * side), "F32", make=make)


def _bilinear(data: bytes, old_side: int, side: int, width: int) -> bytes:
    row = struct.Struct(f"<{width}f")
    rows = [row.unpack_from(data, i * row.size) for i in range(old_side * old_side)]
    scale = (old_side - 1) / (side - 1) if side > 1 else 0.0
    steps = []
    for i in range(side):
        low = min(int(i * scale), old_side - 1)
        steps.append((low, min(low + 1, old_side - 1), i * scale - low))
    parts = []
    for top, bottom, y in steps:
        for left, right, x in steps:
            corners = zip(
                rows[top * old_side + left],
                rows[top * old_side + right],
                rows[bottom * old_side + left],
                rows[bottom * old_side + right],
                strict=True,
            )
            a, b, c, d = (1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x
            parts.append(row.pack(*(a * p + b * q + c * r + d * s for p, q, r, s in corners)))
    return b"".join(parts)
