"""Qwen 3 Next and Qwen 3.5: per-layer values where llama.cpp expects one, and multi-token prediction (MTP)."""

from __future__ import annotations

import re

from corral.errors import GGUFError
from corral.weights.translate import clip
from corral.weights.translate.families import qwen_vision
from corral.weights.translate.translated_file import TranslatedFile

_BLOCK = re.compile(r"blk\.(\d+)\.")
_MTP_LAYER = re.compile(r"mtp\.layers\.(\d+)\.")
_EXPERT = re.compile(r"mtp\.layers\.(\d+)\.mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight")
_SIGNS = ("vision.block_count", "image_token_id", "ssm.v_head_reordered", "rope.mrope_interleaved")
_SHARED_NAMES = (
    ("mtp.fc.", "nextn.eh_proj."),
    ("mtp.pre_fc_norm_embedding.", "nextn.enorm."),
    ("mtp.pre_fc_norm_hidden.", "nextn.hnorm."),
    ("mtp.embed_tokens.", "nextn.embed_tokens."),
    ("mtp.shared_head.head.", "nextn.shared_head_head."),
    ("mtp.shared_head.norm.", "nextn.shared_head_norm."),
    ("mtp.norm.", "nextn.shared_head_norm."),
)


def text(view: TranslatedFile) -> bool:
    """Qwen 3.5, dense and with experts."""
    architecture = view.architecture
    signs = [f"{architecture}.{leaf}" for leaf in _SIGNS]
    if architecture == "qwen35moe":
        signs.append("qwen35moe.feed_forward_length")
    if not any(key in view.values for key in signs) and not view.has("mtp.", "v."):
        return False
    _scalar_heads(view)
    sections = view.own("rope.dimension_sections")
    if isinstance(sections, list) and len(sections) == 3:
        view.put(f"{architecture}.rope.dimension_sections", [*sections, 0], "int32")
    _rename_dt(view)
    _predictor(view)
    view.hide("v.", "mm.", "mtp.")
    return True


def next_text(view: TranslatedFile) -> bool:
    """Qwen 3 Next."""
    if not any(name.endswith(".ssm_dt") for name in view.tensors):
        return False
    _scalar_heads(view)
    _rename_dt(view)
    return True


def _scalar_heads(view: TranslatedFile) -> None:
    """Layers without attention have 0 heads; llama.cpp expects the number of the other layers."""
    heads = view.own("attention.head_count_kv")
    if isinstance(heads, list):
        view.put(f"{view.architecture}.attention.head_count_kv", max(heads, default=0) or 2, "uint32")


def _rename_dt(view: TranslatedFile) -> None:
    view.map_names(lambda name: f"{name}.bias" if name.endswith(".ssm_dt") else name)


def _predictor(view: TranslatedFile) -> None:
    """MTP layers become additional blocks."""
    layers = {int(match[1]) for name in view.tensors if (match := _MTP_LAYER.match(name))}
    if not view.has("mtp.") or any(".nextn." in name for name in view.tensors):
        return
    count = max(layers, default=0) + 1
    blocks = [int(match[1]) for name in view.tensors if (match := _BLOCK.match(name))]
    first = max(blocks, default=-1) + 1
    view.put(f"{view.architecture}.nextn_predict_layers", count, "uint32")
    view.put(f"{view.architecture}.block_count", first + count, "uint32")
    _stack_experts(view, first)

    def renamed(name: str) -> str:
        if match := _MTP_LAYER.match(name):
            return f"blk.{first + int(match[1])}.{name[match.end() :]}"
        if count == 1:
            for old, new in _SHARED_NAMES:
                if name.startswith(old):
                    return f"blk.{first}.{new}{name[len(old) :]}"
        return name

    if "mtp.shared_head.norm.weight" in view.tensors:
        view.tensors.pop("mtp.norm.weight", None)
    made = {renamed(name) for name in view.tensors if name.startswith("mtp.")}
    view.map_names(renamed)
    for name in sorted(made & view.tensors.keys()):
        if _is_shifted_norm(name):
            view.add_one(name)


def _is_shifted_norm(name: str) -> bool:
    is_norm = name.endswith("_norm.weight") and not name.endswith("ssm_norm.weight")
    return is_norm or name.endswith(("nextn.enorm.weight", "nextn.hnorm.weight"))


def _stack_experts(view: TranslatedFile, first: int) -> None:
    """Join the experts of a layer to one tensor, as in the other blocks."""
    found: dict[tuple[int, str], dict[int, str]] = {}
    for name in view.tensors:
        if match := _EXPERT.fullmatch(name):
            found.setdefault((int(match[1]), match[3]), {})[int(match[2])] = name
    for (layer, part), names in found.items():
        if sorted(names) != list(range(len(names))):
            raise GGUFError(f"experts of mtp.layers.{layer} are not numbered without gaps")
        shapes = {view.tensors[name].shape for name in names.values()}
        if len(shapes) != 1:
            raise GGUFError(f"experts of mtp.layers.{layer} have different shapes")
        shape = (*shapes.pop(), len(names))
        view.join(f"blk.{first + layer}.ffn_{part}_exps.weight", [names[i] for i in range(len(names))], shape)


def projector(view: TranslatedFile) -> None:
    clip.start(view, "qwen3vl_merger", leaves=("spatial_merge_size", "num_channels"), activation="gelu")
    view.inject("clip.vision.feed_forward_length", 4304, "uint32")
    view.inject("clip.vision.image_size", 768, "uint32")
    view.inject("clip.vision.attention.layer_norm_epsilon", 1e-6, "float32")
    blocks = view.own_number("vision.block_count")
    view.inject("clip.vision.is_deepstack_layers", [False] * min(blocks, 512), "bool")
    qwen_vision.reshape_tower(view, as_floats=False)
