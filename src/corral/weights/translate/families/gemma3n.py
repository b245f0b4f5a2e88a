"""Gemma 3n: its embeddings have more rows than the per-layer ones, and its vocabulary is of another kind."""

from __future__ import annotations

import re
from dataclasses import replace

from corral.weights.gguf.names import row_bytes
from corral.weights.translate.translated_file import TranslatedFile

_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_NORMAL, _BYTE = 1, 6
_END_OF_TURN = 106


def text(view: TranslatedFile) -> bool:
    embeddings, per_layer = "token_embd.weight", "per_layer_token_embd.weight"
    if per_layer not in view.tensors or view.rows(embeddings) == view.rows(per_layer):
        return False
    rows = min(view.rows(per_layer), view.rows(embeddings))
    view.put("tokenizer.ggml.model", "llama", "string")
    view.tokens_cut_to(rows)
    _retype(view)
    ends = view.get("tokenizer.ggml.eos_token_ids") or [1]
    if _END_OF_TURN not in ends:
        view.put("tokenizer.ggml.eos_token_ids", [*ends, _END_OF_TURN], "int32")
    tensor = view.tensors[embeddings]
    (start, _), width = tensor.ranges[0], tensor.shape[0]
    size = rows * row_bytes(tensor.type_name, width)
    view.tensors[embeddings] = replace(tensor, shape=(width, rows), ranges=((start, size),))
    return True


def _retype(view: TranslatedFile) -> None:
    """Set the types of byte tokens, and of unused tokens to normal."""
    tokens, types = view.get("tokenizer.ggml.tokens"), view.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(types, list):
        return
    for i, token in enumerate(tokens[: len(types)]):
        if _BYTE_TOKEN.fullmatch(token):
            types[i] = _BYTE
        elif token.startswith("<unused"):
            types[i] = _NORMAL
    view.put("tokenizer.ggml.token_type", types, "int32")
