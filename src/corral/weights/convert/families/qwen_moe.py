"""Qwen 2 and 3 with a mixture of experts; Qwen 2 also has a shared expert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.decoder import BLOCK_NAMES, EXPERT_NAMES
from corral.weights.convert.families.mixtral import split_packed_experts
from corral.weights.convert.families.qwen import Qwen2, Qwen3
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output


class Qwen2Moe(Qwen2):
    """Experts in every layer: for this architecture the engine does not support dense layers."""

    gguf_arch = "qwen2moe"
    needs_output = True
    # Whether the engine normalises the weights of the chosen experts.
    normalizes_weights: ClassVar[bool] = False
    block_names: ClassVar[Mapping[str, str]] = {
        **BLOCK_NAMES,
        **EXPERT_NAMES,
        "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
        "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
        "mlp.shared_expert.up_proj": "ffn_up_shexp",
        "mlp.shared_expert.down_proj": "ffn_down_shexp",
    }

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        config = self.config
        if config.integer("decoder_sparse_step", default=1) != 1 or config.values.get("mlp_only_layers"):
            raise ConversionError("config.json: the engine needs experts in every layer of this architecture")
        if config.boolean("norm_topk_prob", default=self.normalizes_weights) != self.normalizes_weights:
            expected = str(self.normalizes_weights).lower()
            raise ConversionError(f"config.json: the engine needs norm_topk_prob to be {expected} here")
        out.set_int(".expert_feed_forward_length", self.expert_ff())
        if self.gguf_arch == "qwen2moe":
            out.set_int(".expert_shared_feed_forward_length", self.shared_ff())

    def expert_ff(self) -> int:
        return self.config.integer("moe_intermediate_size")

    def shared_ff(self) -> int:
        return self.config.integer("shared_expert_intermediate_size")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        shapes = dict(super().shapes())
        if self.gguf_arch == "qwen2moe":
            ff, n = self.shared_ff(), self.n_embd
            shapes |= {
                "blk.ffn_gate_inp_shexp.weight": (n,),
                "blk.ffn_gate_shexp.weight": (ff, n),
                "blk.ffn_up_shexp.weight": (ff, n),
                "blk.ffn_down_shexp.weight": (n, ff),
            }
        return shapes

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        if name.endswith(".ffn_gate_inp_shexp.weight"):
            yield name, values.reshaped(values.n_elements)
        else:
            yield from split_packed_experts(name, values)


class Qwen3Moe(Qwen2Moe, Qwen3):
    """Without a shared expert."""

    gguf_arch = "qwen3moe"
    needs_output = False
    normalizes_weights = True
