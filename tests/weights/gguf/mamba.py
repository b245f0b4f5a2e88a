"""A model that does not attend: Mamba, with random weights and the vocabulary of a fixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from corral.weights.gguf import GGUFFile, NewTensor, build_header, encode_value
from tests.conftest import FIXTURES

__all__ = ["write_mamba"]

_WIDTH, _INNER, _STATE, _STEP, _CONV, _BLOCKS = 32, 64, 8, 4, 4, 2


def write_mamba(path: Path) -> Path:
    """As llama.cpp's converter writes it: 0 heads, 0 feed-forward."""
    vocabulary = GGUFFile.open(FIXTURES / "tiny-notmpl.gguf")
    numbers = {
        "context_length": 1024,
        "embedding_length": _WIDTH,
        "feed_forward_length": 0,
        "block_count": _BLOCKS,
        "attention.head_count": 0,
        "ssm.conv_kernel": _CONV,
        "ssm.inner_size": _INNER,
        "ssm.state_size": _STATE,
        "ssm.time_step_rank": _STEP,
    }
    values = {"general.architecture": encode_value("mamba", "string")}
    values |= {f"mamba.{name}": encode_value(number, "uint32") for name, number in numbers.items()}
    values["mamba.attention.layer_norm_rms_epsilon"] = encode_value(1e-5, "float32")
    raw = vocabulary.raw_values()
    values |= {key: value for key, value in raw.items() if key.startswith("tokenizer.ggml.")}
    tensors = _tensors(len(vocabulary.metadata["tokenizer.ggml.tokens"]))
    header = build_header(values, [NewTensor(name, a.shape[::-1], "F32") for name, a in tensors.items()])
    out = bytearray(header.data.ljust(header.file_bytes, b"\0"))
    for array, offset in zip(tensors.values(), header.offsets, strict=True):
        data = array.astype("<f4").tobytes()
        out[offset : offset + len(data)] = data
    path.write_bytes(out)
    return path


def _tensors(n_vocab: int) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)

    def drawn(*shape: int) -> np.ndarray[Any, Any]:
        return generator.standard_normal(shape) * 0.1

    found = {"token_embd.weight": drawn(n_vocab, _WIDTH), "output_norm.weight": np.ones(_WIDTH)}
    for block in range(_BLOCKS):
        parts = {
            "attn_norm.weight": np.ones(_WIDTH),
            "ssm_in.weight": drawn(2 * _INNER, _WIDTH),
            "ssm_conv1d.weight": drawn(_INNER, _CONV),
            "ssm_conv1d.bias": drawn(_INNER),
            "ssm_x.weight": drawn(_STEP + 2 * _STATE, _INNER),
            "ssm_dt.weight": drawn(_INNER, _STEP),
            "ssm_dt.bias": drawn(_INNER),
            "ssm_a": -np.abs(drawn(_INNER, _STATE)),
            "ssm_d": np.ones(_INNER),
            "ssm_out.weight": drawn(_WIDTH, _INNER),
        }
        found |= {f"blk.{block}.{name}": array for name, array in parts.items()}
    return found
