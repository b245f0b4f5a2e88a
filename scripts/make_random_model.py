"""Make a random-weight llama model of about 0.5 B parameters, for benchmarks: speed does not depend on sense.

    python scripts/make_random_model.py OUT.gguf [--layers 20] [--width 1536] [--type Q4_K_M|Q8_0|F16]

The weights are quantised by the engine's own kernels. Needs numpy, gguf and xllamacpp.
"""

from __future__ import annotations

import argparse
import ctypes
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import xllamacpp.xllamacpp as engine

_HEAD = 64
_KV_HEADS = 8
_VOCAB = 32_000
_CONTEXT = 8192


def _quantize(rows: np.ndarray[Any, Any], kind: gguf.GGMLQuantizationType) -> np.ndarray[Any, Any]:
    """Rows of float32 as raw blocks of a type."""
    lib = ctypes.CDLL(engine.__file__)
    lib.ggml_quantize_chunk.restype = lib.ggml_row_size.restype = ctypes.c_size_t
    int64 = ctypes.c_int64
    lib.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, int64, int64, int64, ctypes.c_void_p,
    ]  # fmt: skip
    lib.ggml_row_size.argtypes = [ctypes.c_int, int64]
    count, width = rows.shape
    out = np.empty((count, lib.ggml_row_size(int(kind), width)), np.uint8)
    lib.ggml_quantize_chunk(int(kind), rows.ctypes.data, out.ctypes.data, 0, count, width, None)
    return out


def _uses_more_bits(layer: int, layers: int) -> bool:
    """llama.cpp's choice of layers that Q4_K_M gives more bits to."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _kind_of(name: str, layer: int, layers: int, wanted: str) -> gguf.GGMLQuantizationType:
    kinds = gguf.GGMLQuantizationType
    if wanted == "F16":
        return kinds.F16
    if wanted == "Q8_0":
        return kinds.Q8_0
    is_rich = name in ("attn_v", "ffn_down") and _uses_more_bits(layer, layers)
    return kinds.Q6_K if name == "token_embd" or is_rich else kinds.Q4_K


def make(path: Path, *, layers: int, width: int, wanted: str, seed: int = 1) -> int:
    """Write the model; returns its number of parameters."""
    ffn = width * 8 // 3 // 256 * 256
    heads = width // _HEAD
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random")
    writer.add_block_count(layers)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_rope_dimension_count(_HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(_VOCAB)
    file_types = {"F16": 1, "Q8_0": 7, "Q4_K_M": 15}
    writer.add_file_type(file_types[wanted])
    _add_vocabulary(writer)
    shapes = {
        "attn_q": (width, width),
        "attn_k": (_KV_HEADS * _HEAD, width),
        "attn_v": (_KV_HEADS * _HEAD, width),
        "attn_output": (width, width),
        "ffn_gate": (ffn, width),
        "ffn_up": (ffn, width),
        "ffn_down": (width, ffn),
    }
    random = np.random.default_rng(seed)
    total = 0

    def add(name: str, stem: str, shape: tuple[int, int], layer: int) -> int:
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        kind = _kind_of(stem, layer, layers, wanted)
        if kind == gguf.GGMLQuantizationType.F16:
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, _quantize(values, kind), raw_dtype=kind)
        return values.size

    total += add("token_embd.weight", "token_embd", (_VOCAB, width), 0)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(width, np.float32))
        for stem, shape in shapes.items():
            total += add(f"blk.{layer}.{stem}.weight", stem, shape, layer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return total


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """Bytes, two control tokens, and made-up words: enough for any text to tokenise."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    chars = {byte: chr(byte) for byte in keep}
    chars |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in chars)}
    tokens = ["<|endoftext|>", "<|im_end|>", *(chars[byte] for byte in range(256))]
    tokens += [f"<w{i}>" for i in range(_VOCAB - len(tokens))]
    types = [3, 3] + [1] * (len(tokens) - 2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{chars[32]} {chars[97]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--type", default="Q4_K_M", choices=["Q4_K_M", "Q8_0", "F16"])
    arguments = parser.parse_args()
    count = make(arguments.out, layers=arguments.layers, width=arguments.width, wanted=arguments.type)
    print(f"{arguments.out}: {count / 1e9:.2f} B parameters, {arguments.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
