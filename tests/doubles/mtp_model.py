"""A random model of a few hundred kB with a head for the token after the next one (GLM-4.5's architecture)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

_WIDTH, _HEAD, _EXPERTS, _FFN, _LAYERS = 64, 32, 2, 64, 2
_ARCHITECTURE = "glm4moe"


def write_mtp_model(path: Path, *, heads: int = 1) -> Path:
    """Write the model with so many heads; each is a block after the model's own two, as converters write it."""
    writer = gguf.GGUFWriter(path, _ARCHITECTURE)
    vocabulary = _add_vocabulary(writer)
    writer.add_block_count(_LAYERS + heads)
    writer.add_context_length(2048)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FFN)
    writer.add_head_count(_WIDTH // _HEAD)
    writer.add_head_count_kv(1)
    writer.add_key_length(_HEAD)
    writer.add_value_length(_HEAD)
    writer.add_rope_dimension_count(_HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_expert_count(_EXPERTS)
    writer.add_expert_used_count(1)
    writer.add_expert_feed_forward_length(_FFN)
    writer.add_expert_shared_count(1)
    writer.add_leading_dense_block_count(0)
    if heads:
        writer.add_nextn_predict_layers(heads)
    random = np.random.default_rng(5)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.standard_normal(shape, dtype=np.float32) * np.float32(0.1))

    def add_norm(name: str, width: int = _WIDTH) -> None:
        writer.add_tensor(name, np.ones(width, np.float32))

    add("token_embd.weight", vocabulary, _WIDTH)
    add_norm("output_norm.weight")
    for block in range(_LAYERS + heads):
        _add_block(f"blk.{block}.", add, add_norm)
        if block >= _LAYERS:
            add(f"blk.{block}.nextn.eh_proj.weight", _WIDTH, 2 * _WIDTH)
            for name in ("enorm", "hnorm", "shared_head_norm"):
                add_norm(f"blk.{block}.nextn.{name}.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_block(start: str, add: Any, add_norm: Any) -> None:
    for name in ("attn_norm", "post_attention_norm"):
        add_norm(f"{start}{name}.weight")
    add(f"{start}attn_q.weight", _WIDTH, _WIDTH)
    add(f"{start}attn_k.weight", _HEAD, _WIDTH)
    add(f"{start}attn_v.weight", _HEAD, _WIDTH)
    add(f"{start}attn_output.weight", _WIDTH, _WIDTH)
    add(f"{start}ffn_gate_inp.weight", _EXPERTS, _WIDTH)
    add(f"{start}exp_probs_b.bias", _EXPERTS)
    for kind, experts in (("exps", (_EXPERTS,)), ("shexp", ())):
        add(f"{start}ffn_gate_{kind}.weight", *experts, _FFN, _WIDTH)
        add(f"{start}ffn_up_{kind}.weight", *experts, _FFN, _WIDTH)
        add(f"{start}ffn_down_{kind}.weight", *experts, _WIDTH, _FFN)


def _add_vocabulary(writer: gguf.GGUFWriter) -> int:
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    chars = {byte: chr(byte) for byte in keep}
    chars |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in chars)}
    tokens = ["<|endoftext|>", "<|im_end|>", *(chars[byte] for byte in range(256))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * 256)
    writer.add_token_merges([f"{chars[32]} {chars[97]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    return len(tokens)
