"""Cohere's Command R and R7B: parallel attention and feed-forward, with one layer norm before both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.decoder import BLOCK_NAMES, Decoder
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output

# With at least this many layers, the engine expects norms on queries and keys.
_NORMED_FROM_BLOCKS = 64


class CommandR(Decoder):
    """The source rotates neighbouring pairs too, so nothing is permuted. The output is tied to the embedding."""

    gguf_arch = "command-r"
    uses_layer_norm = True
    default_eps = 1e-5
    block_names: ClassVar[Mapping[str, str]] = {
        old: new for old, new in BLOCK_NAMES.items() if old != "post_attention_layernorm"
    }

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        out.set_float(".logit_scale", self.config.number("logit_scale", default=0.0625))
        has_norms = self.config.boolean("use_qk_norm", default=False)
        if self.gguf_arch == "command-r" and has_norms != (self.n_block >= _NORMED_FROM_BLOCKS):
            raise ConversionError("config.json: the engine expects use_qk_norm exactly from 64 layers on")

    def context_length(self) -> int:
        return self.config.integer("model_max_length", "max_position_embeddings")

    def rename(self, name: str) -> str | None:
        return None if name == "lm_head.weight" else name

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        norms = {
            "blk.attn_q_norm.weight": (self.n_head, self.head_dim),
            "blk.attn_k_norm.weight": (self.n_head_kv, self.head_dim),
        }
        return {**super().shapes(), **norms}


class CommandR7B(CommandR):
    """Every fourth layer has full attention and no rotary positions."""

    gguf_arch = "cohere2"

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        out.set_int(".attention.sliding_window", self.config.integer("sliding_window"))
        kinds = self.config.texts("layer_types")
        expected = [
            "full_attention" if block % 4 == 3 else "sliding_attention" for block in range(self.n_block)
        ]
        if (kinds or expected) != expected or self.config.integer("sliding_window_pattern", default=4) != 4:
            raise ConversionError("config.json: the engine expects full attention in every fourth layer")

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        yield name, values
