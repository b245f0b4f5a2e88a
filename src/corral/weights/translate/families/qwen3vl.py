"""Qwen 3 VL, dense and with experts: rope sections are missing, the vision tower is in the same file."""

from __future__ import annotations

import math
import re

from corral.errors import GGUFError
from corral.weights.translate import clip
from corral.weights.translate.families import qwen_vision
from corral.weights.translate.translated_file import TranslatedFile

_DEEPSTACK = re.compile(r"v\.deepstack_merger\.(\d+)\.(norm|linear_fc1|linear_fc2)\.")
_LEAVES = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}
_MAX_BLOCKS = 512


def text(view: TranslatedFile) -> bool:
    key = f"{view.architecture}.rope.dimension_sections"
    if key in view.values:
        return False
    view.put(key, [24, 20, 20, 0], "int32")
    view.inject(f"{view.architecture}.n_deepstack_layers", len(_indexes(view)), "uint32")
    view.hide("v.", "mm.")
    return True


def _indexes(view: TranslatedFile) -> list[int]:
    """The blocks of the tower whose states go into the first text blocks."""
    indexes = view.own("vision.deepstack_visual_indexes", [])
    return [i for i in indexes if isinstance(i, int)] if isinstance(indexes, list) else []


def projector(view: TranslatedFile) -> None:
    clip.start(
        view,
        "qwen3vl_merger",
        leaves=(
            "attention.layer_norm_epsilon",
            "num_channels",
            "spatial_merge_size",
            "temporal_patch_size",
            "rope.freq_base",
            "image_mean",
            "image_std",
        ),
        activation="gelu",
    )
    for leaf, value in (("num_channels", 3), ("temporal_patch_size", 2)):
        view.inject(f"clip.vision.{leaf}", value, "uint32")
    view.inject("clip.vision.rope.freq_base", 1e4, "float32")
    view.inject("clip.vision.feed_forward_length", view.rows("v.blk.0.mlp.linear_fc1.weight"), "uint32")
    side = math.isqrt(view.rows("v.pos_embed.weight"))
    view.inject("clip.vision.image_size", side * view.own_number("vision.patch_size"), "uint32")
    for old, new, default in (
        ("shortest_edge", "image_min_pixels", 65_536),
        ("longest_edge", "image_max_pixels", 16_777_216),
    ):
        view.copy(f"{view.architecture}.vision.{old}", f"clip.vision.{new}")
        view.inject(f"clip.vision.{new}", default, "uint32")
    indexes = _indexes(view)
    blocks = min(view.own_number("vision.block_count"), _MAX_BLOCKS)
    view.inject("clip.vision.is_deepstack_layers", [i in indexes for i in range(blocks)], "bool")

    def renamed(name: str) -> str:
        match = _DEEPSTACK.match(name)
        if match is None:
            return name
        if int(match[1]) >= len(indexes):
            raise GGUFError(f"tensor {name!r} is of a deepstack layer that the metadata does not have")
        return f"v.deepstack.{indexes[int(match[1])]}.{_LEAVES[match[2]]}.{name[match.end() :]}"

    view.map_names(renamed)
    qwen_vision.reshape_tower(view, as_floats=True)
