"""The vision tower of Qwen 3 VL and Qwen 3.5: q, k and v in one tensor, the patch embedding split by frames."""

from __future__ import annotations

import logging
import re

from corral.weights.translate.translated_file import Read, TranslatedFile, TranslatedTensor

_log = logging.getLogger("corral.translate")
_QUERY = re.compile(r"(v\.blk\.\d+\.)attn_q\.(weight|bias)")
NAMES = (
    ("v.pos_embed", "v.position_embd"),
    ("v.patch_embed", "v.patch_embd"),
    ("v.merger.norm", "v.post_ln"),
    ("v.merger.linear_fc1", "mm.0"),
    ("v.merger.linear_fc2", "mm.2"),
    (".mlp.linear_fc1", ".ffn_up"),
    (".mlp.linear_fc2", ".ffn_down"),
    (".norm1", ".ln1"),
    (".norm2", ".ln2"),
)


def reshape_tower(view: TranslatedFile, *, as_floats: bool) -> None:
    """Join, split and rename; `as_floats`: q, k and v as float32 first."""
    view.keep("v.", "mm.")
    for name in list(view.tensors):
        if match := _QUERY.fullmatch(name):
            _join_qkv(view, match[1], match[2], as_floats=as_floats)
    _split_patches(view)
    view.rename(NAMES)
    view.promote("v.position_embd.weight")


def _join_qkv(view: TranslatedFile, block: str, leaf: str, *, as_floats: bool) -> None:
    parts = [f"{block}attn_{role}.{leaf}" for role in ("q", "k", "v")]
    if not all(name in view.tensors for name in parts):
        return
    first = view.tensors[parts[0]].shape
    rows = sum(view.tensors[name].shape[-1] for name in parts)
    join = view.join_floats if as_floats else view.join
    join(f"{block}attn_qkv.{leaf}", parts, (*first[:-1], rows))


def _split_patches(view: TranslatedFile) -> None:
    """A packed weight (width, height, 2 frames, out x in) as one for each frame, (width, height, in, out)."""
    name = "v.patch_embed.weight"
    tensor = view.tensors.get(name)
    outputs = view.own("vision.embedding_length")
    if tensor is None:
        return
    is_packed = tensor.type_name == "F16" and len(tensor.shape) == 4 and tensor.shape[2] == 2
    if not is_packed or not isinstance(outputs, int) or outputs <= 0 or tensor.shape[3] % outputs:
        _log.error(
            "the patch embedding has an unknown layout: shape=%s type=%s", tensor.shape, tensor.type_name
        )
        return
    width, height, _, packed = tensor.shape
    frame_bytes = 4 * width * height

    def frame(index: int) -> TranslatedTensor:
        def make(read: Read) -> bytes:
            data = tensor.floats(read)
            starts = range(index * frame_bytes, len(data), 2 * frame_bytes)
            return b"".join(data[start : start + frame_bytes] for start in starts)

        return TranslatedTensor((width, height, packed // outputs, outputs), "F32", make=make)

    del view.tensors[name]
    view.tensors["v.patch_embd.weight"] = frame(0)
    view.tensors["v.patch_embd.weight.1"] = frame(1)
