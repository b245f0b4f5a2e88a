"""A tiny cross-encoder with random weights: as GGUF for the engine, and its score in numpy.

BERT of two layers with the classification head of `BertForSequenceClassification`: a dense layer with tanh on the
first token, then one output. Every word is one token.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.doubles.sentence_model import linear, norm

Array = np.ndarray[Any, Any]
LAYERS, HEADS, WIDTH, FFN, CONTEXT = 2, 2, 32, 64, 64
_EPSILON = 1e-12
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "cat dog sky blue rain sun money bank river tree the a is on in of and red green house car".split()
TOKENS = SPECIAL + WORDS


def weights(seed: int = 3) -> dict[str, Array]:
    """All tensors by their GGUF names, in (rows, columns) order."""
    random = np.random.default_rng(seed)

    def make(*shape: int) -> Array:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    tensors = {
        "token_embd.weight": make(len(TOKENS), WIDTH),
        "position_embd.weight": make(CONTEXT, WIDTH),
        "token_types.weight": make(2, WIDTH),
        "token_embd_norm.weight": 1 + make(WIDTH),
        "token_embd_norm.bias": make(WIDTH),
        "cls.weight": make(WIDTH, WIDTH),
        "cls.bias": make(WIDTH),
        "cls.output.weight": make(1, WIDTH),
        "cls.output.bias": make(1),
    }
    for layer in range(LAYERS):
        stem = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"{stem}{name}.weight"], tensors[f"{stem}{name}.bias"] = make(WIDTH, WIDTH), make(WIDTH)
        tensors[f"{stem}ffn_up.weight"], tensors[f"{stem}ffn_up.bias"] = make(FFN, WIDTH), make(FFN)
        tensors[f"{stem}ffn_down.weight"], tensors[f"{stem}ffn_down.bias"] = make(WIDTH, FFN), make(WIDTH)
        for name in ("attn_output_norm", "layer_output_norm"):
            tensors[f"{stem}{name}.weight"], tensors[f"{stem}{name}.bias"] = 1 + make(WIDTH), make(WIDTH)
    return tensors


def write_gguf(path: Path, *, says_pooling: bool = True) -> None:
    """The model, in F32; without `says_pooling` as converters wrote such models before 2025."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny-reranker")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(_EPSILON)
    writer.add_causal_attention(False)
    if says_pooling:
        writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_file_type(0)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list([token if token in SPECIAL else "\u2581" + token for token in TOKENS])
    writer.add_token_types([3] * len(SPECIAL) + [1] * len(WORDS))
    for name in ("bos", "eos", "sep", "unk", "pad", "mask"):
        token = {"bos": "[CLS]", "eos": "[SEP]"}.get(name, f"[{name.upper()}]")
        getattr(writer, f"add_{name}_token_id")(TOKENS.index(token))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    # The end of the query separates by itself; with a separator too BERT would see two.
    writer.add_add_sep_token(False)
    for name, values in weights().items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reference_score(query: str, document: str) -> float:
    """The raw score of a document, whose words and the query's are all in the vocabulary."""
    tensors = {name: values.astype(np.float64) for name, values in weights().items()}
    ids = [TOKENS.index(word) for word in ("[CLS]", *query.split(), "[SEP]", *document.split(), "[SEP]")]
    x = (
        tensors["token_embd.weight"][ids]
        + tensors["position_embd.weight"][: len(ids)]
        + tensors["token_types.weight"][0]
    )
    x = norm(x, tensors, "token_embd_norm")
    for layer in range(LAYERS):
        stem = f"blk.{layer}."
        q, k, v = (
            linear(x, tensors, f"{stem}attn_{part}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for part in "qkv"
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), WIDTH)
        x = norm(x + linear(mixed, tensors, f"{stem}attn_output"), tensors, f"{stem}attn_output_norm")
        inner = linear(x, tensors, f"{stem}ffn_up")
        inner = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, tensors, f"{stem}ffn_down"), tensors, f"{stem}layer_output_norm")
    pooled = np.tanh(linear(x[0], tensors, "cls"))
    return float(linear(pooled, tensors, "cls.output")[0])
