"""Decoders like Llama: attention, gated feed-forward, rotary positions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.families.family import Family
from corral.weights.convert.families.pooling import write_pooling
from corral.weights.convert.families.rope import Rope, llama3_factors
from corral.weights.convert.lazy import Lazy, constant
from corral.weights.convert.output import Output

BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# `gate_up_proj`: both in one tensor, as transformers 5 packs them.
EXPERT_NAMES = {
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.experts.gate_up_proj": "ffn_gate_up_exps",
}


class Decoder(Family):
    """The usual keys and shapes. `has_permuted_heads`: the engine rotates neighbouring pairs; rows are permuted."""

    names: ClassVar[Mapping[str, str]] = {
        "embed_tokens": "token_embd",
        "norm": "output_norm",
        "lm_head": "output",
    }
    block_names: ClassVar[Mapping[str, str]] = BLOCK_NAMES
    has_permuted_heads: ClassVar[bool] = False
    uses_layer_norm: ClassVar[bool] = False
    default_eps: ClassVar[float | None] = None
    default_theta: ClassVar[float] = 10_000.0

    def __init__(self, checkpoint: Checkpoint, config: Config, architecture: str) -> None:
        super().__init__(checkpoint, config, architecture)
        if self.n_head % self.n_head_kv:
            raise ConversionError(
                f"config.json: {self.n_head} heads cannot share {self.n_head_kv} key and value heads"
            )
        self.head_dim = self._head_dim()
        self.n_ff = config.integer("intermediate_size", "n_inner")
        self.rope = Rope.of(config, self.default_theta)

    def _head_dim(self) -> int:
        if self.config.has("head_dim"):
            return self.config.integer("head_dim")
        if self.n_embd % self.n_head:
            raise ConversionError(
                f"config.json: {self.n_embd} dimensions cannot be divided by {self.n_head} heads"
            )
        return self.n_embd // self.n_head

    @property
    def rope_dim(self) -> int:
        return int(self.rope.partial_factor * self.head_dim)

    def metadata(self, out: Output) -> None:
        config = self.config
        out.set_int(".block_count", self.n_block)
        out.set_int(".context_length", self.context_length())
        out.set_int(".embedding_length", self.n_embd)
        out.set_int(".feed_forward_length", self.n_ff)
        out.set_int(".attention.head_count", self.n_head)
        out.set_int(".attention.head_count_kv", self.n_head_kv)
        out.set_int(".attention.key_length", self.head_dim)
        out.set_int(".attention.value_length", self.head_dim)
        names = ("layer_norm_eps", "norm_eps") if self.uses_layer_norm else ("rms_norm_eps", "norm_eps")
        eps = config.number(*names, default=self.default_eps)
        if not 0 <= eps < 1:
            raise ConversionError(f"config.json: {names[0]} is {eps}, which no model has")
        out.set_float(f".attention.layer_norm_{'' if self.uses_layer_norm else 'rms_'}epsilon", eps)
        out.set_int(".rope.dimension_count", self.rope_dim)
        self.rope.write(out)
        if self.n_vocab_config is not None:
            out.set_int(".vocab_size", self.n_vocab_config)
        if self.n_expert:
            out.set_int(".expert_count", self.n_expert)
            out.set_int(".expert_used_count", config.integer("num_experts_per_tok"))
        write_pooling(self.checkpoint, out)

    def context_length(self) -> int:
        return self.config.integer("max_position_embeddings", "n_positions", "n_ctx")

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        if self.has_permuted_heads:
            if name.endswith((".attn_q.weight", ".attn_q.bias")):
                values = values.permuted(self.n_head)
            elif name.endswith((".attn_k.weight", ".attn_k.bias")):
                values = values.permuted(self.n_head_kv)
        yield name, values

    def extra(self) -> Iterator[tuple[str, Lazy]]:
        if self.rope.kind == "llama3":
            yield "rope_freqs.weight", constant(llama3_factors(self.rope, self.rope_dim))
        elif self.rope.kind == "longrope":
            for length in ("long", "short"):
                factors = self.rope.section.numbers(f"{length}_factor") or []
                if len(factors) != self.rope_dim // 2:
                    raise ConversionError(
                        f"config.json: {length}_factor has {len(factors)} values, {self.rope_dim // 2} are expected"
                    )
                yield f"rope_factors_{length}.weight", constant(factors)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        q, kv = self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        n, ff, e = self.n_embd, self.n_ff, self.n_expert
        expert_ff = self.expert_ff()
        return {
            "output_norm.weight": (n,),
            "blk.attn_norm.weight": (n,),
            "blk.ffn_norm.weight": (n,),
            "blk.attn_q.weight": (q, n),
            "blk.attn_k.weight": (kv, n),
            "blk.attn_v.weight": (kv, n),
            "blk.attn_q.bias": (q,),
            "blk.attn_k.bias": (kv,),
            "blk.attn_v.bias": (kv,),
            "blk.attn_output.weight": (n, q),
            "blk.ffn_gate.weight": (ff, n),
            "blk.ffn_up.weight": (ff, n),
            "blk.ffn_down.weight": (n, ff),
            "blk.ffn_gate_inp.weight": (e, n),
            "blk.ffn_gate_exps.weight": (e, expert_ff, n),
            "blk.ffn_up_exps.weight": (e, expert_ff, n),
            "blk.ffn_down_exps.weight": (e, n, expert_ff),
        }

    def expert_ff(self) -> int:
        """The width of one expert."""
        return self.n_ff

    def required(self) -> Iterable[str]:
        yield from ("token_embd.weight", "output_norm.weight")
        yield from (f"blk.{name}.weight" for name in ("attn_q", "attn_k", "attn_v", "attn_output"))
        experts = "_exps" if self.n_expert else ""
        yield from (f"blk.ffn_{name}{experts}.weight" for name in ("gate", "up", "down"))

    def longrope_attention_factor(self) -> float:
        """The attention scaling for the longer context (transformers: modeling_rope_utils.py)."""
        given = self.rope.section.number("attention_factor", default=0.0)
        if given:
            return given
        original = self.original_context_length()
        scale = self.context_length() / original
        return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 and original > 1 else 1.0

    def original_context_length(self) -> int:
        if self.rope.section.has("original_max_position_embeddings"):
            return self.rope.section.integer("original_max_position_embeddings")
        return self.config.integer("original_max_position_embeddings", default=self.context_length())
