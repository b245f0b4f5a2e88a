"""OLMo 2: norms after attention and feed-forward, and one norm over all heads of queries or keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from corral.weights.convert.families.decoder import BLOCK_NAMES, Decoder


class Olmo2(Decoder):
    gguf_arch = "olmo2"
    needs_output = True
    default_eps = 1e-5
    block_names: ClassVar[Mapping[str, str]] = {
        **{old: new for old, new in BLOCK_NAMES.items() if old != "input_layernorm"},
        "post_attention_layernorm": "post_attention_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        norms = {
            "blk.attn_q_norm.weight": (self.n_head * self.head_dim,),
            "blk.attn_k_norm.weight": (self.n_head_kv * self.head_dim,),
        }
        return {**super().shapes(), **norms}

    def required(self) -> Iterator[str]:
        yield from super().required()
        for name in ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm"):
            yield f"blk.{name}.weight"
