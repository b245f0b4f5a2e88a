"""Phi-3, Phi-3.5 and Phi-4: one tensor for queries, keys and values, one for gate and up projection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from corral.weights.convert.families.decoder import BLOCK_NAMES, Decoder
from corral.weights.convert.output import Output


class Phi3(Decoder):
    """The engine takes the fused tensors unchanged. It has no sliding window here, so none is written."""

    gguf_arch = "phi3"
    block_names: ClassVar[Mapping[str, str]] = {
        **BLOCK_NAMES,
        "self_attn.qkv_proj": "attn_qkv",
        "mlp.gate_up_proj": "ffn_up",
    }

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        out.set_int(".rope.scaling.original_context_length", self.original_context_length())
        # The engine recognises Phi-4 by a window of 0.
        out.set_int(".attention.sliding_window", self.config.optional_integer("sliding_window") or 0)
        if self.rope.kind == "longrope":
            out.set_float(".rope.scaling.attn_factor", self.longrope_attention_factor())

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        width = (self.n_head + 2 * self.n_head_kv) * self.head_dim
        fused = {
            "blk.attn_qkv.weight": (width, self.n_embd),
            "blk.ffn_up.weight": (2 * self.n_ff, self.n_embd),
        }
        return {**super().shapes(), **fused}

    def required(self) -> Iterable[str]:
        yield from ("token_embd.weight", "output_norm.weight")
        yield from (f"blk.{name}.weight" for name in ("attn_qkv", "attn_output", "ffn_up", "ffn_down"))
