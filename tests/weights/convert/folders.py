"""Small model folders made by hand: what a converter is given, without any framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Array = np.ndarray[Any, Any]
VOCAB, WIDTH, HEADS, KV_HEADS, FF, BLOCKS = 300, 32, 4, 2, 48, 2
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": WIDTH,
    "intermediate_size": FF,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "vocab_size": VOCAB,
}


def byte_alphabet() -> list[str]:
    """GPT-2's printable characters for the bytes 0 to 255."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


def tokenizer() -> dict[str, Any]:
    """A byte-level tokenizer.json with a few merges and special tokens."""
    vocab = {char: number for number, char in enumerate(byte_alphabet())}
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    added = [
        {"id": len(vocab) + i, "content": text, "special": True} for i, text in enumerate(("<s>", "</s>"))
    ]
    split = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
    return {
        "added_tokens": added,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}],
        },
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "ignore_merges": True,
            "vocab": vocab,
            "merges": [" ".join(m) for m in merges],
        },
    }


def weights(dtype: Any = np.float32) -> dict[str, Array]:
    """Weights of a Llama as CONFIG says."""
    random = np.random.default_rng(5)
    kv = WIDTH // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCAB, WIDTH),
        "model.norm.weight": (WIDTH,),
        "lm_head.weight": (VOCAB, WIDTH),
    }
    for block in range(BLOCKS):
        stem = f"model.layers.{block}"
        shapes |= {
            f"{stem}.input_layernorm.weight": (WIDTH,),
            f"{stem}.post_attention_layernorm.weight": (WIDTH,),
            f"{stem}.self_attn.q_proj.weight": (WIDTH, WIDTH),
            f"{stem}.self_attn.k_proj.weight": (kv, WIDTH),
            f"{stem}.self_attn.v_proj.weight": (kv, WIDTH),
            f"{stem}.self_attn.o_proj.weight": (WIDTH, WIDTH),
            f"{stem}.mlp.gate_proj.weight": (FF, WIDTH),
            f"{stem}.mlp.up_proj.weight": (FF, WIDTH),
            f"{stem}.mlp.down_proj.weight": (WIDTH, FF),
        }
    return {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def write_folder(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Array] | None = None,
    tokenizer_json: Mapping[str, Any] | None = None,
    shards: int = 1,
) -> dict[str, Path]:
    """Write a model folder; the files of it by name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else dict(config)))
    (folder / "tokenizer.json").write_text(
        json.dumps(tokenizer() if tokenizer_json is None else tokenizer_json)
    )
    stored = dict(weights() if tensors is None else tensors)
    if shards == 1:
        save_file(stored, folder / "model.safetensors")
    else:
        names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
        for i, name in enumerate(names):
            save_file({t: stored[t] for t in list(stored)[i::shards]}, folder / name)
        weight_map = {tensor: names[i % shards] for i, tensor in enumerate(stored)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return {file.name: file for file in folder.iterdir()}
