"""ModernBERT: rotary positions, a gated feed-forward, and a narrow window in two of three layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.encoder import Encoder
from corral.weights.convert.families.rope import Rope
from corral.weights.convert.output import Output


class ModernBert(Encoder):
    gguf_arch = "modern-bert"
    names: ClassVar[Mapping[str, str]] = {
        "embeddings.tok_embeddings": "token_embd",
        "embeddings.norm": "token_embd_norm",
        "final_norm": "output_norm",
        "head.dense": "cls",
        "head.norm": "cls.norm",
        "classifier": "cls.output",
    }
    block_names: ClassVar[Mapping[str, str]] = {
        "attn_norm": "attn_norm",
        "attn.Wqkv": "attn_qkv",
        "attn.Wo": "attn_output",
        "mlp_norm": "ffn_norm",
        "mlp.Wi": "ffn_up",
        "mlp.Wo": "ffn_down",
    }
    dropped = ("decoder.",)

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        config = self.config
        full = Rope.of(config, 160_000.0)
        out.set_float(".rope.freq_base", config.number("global_rope_theta", default=full.theta))
        out.set_float(".rope.freq_base_swa", Rope.local_theta(config, "local_rope_theta", 10_000.0))
        out.set(".rope.scaling.type", "none")
        out.set_int(".attention.sliding_window", config.integer("local_attention", default=128))
        period = config.integer("global_attn_every_n_layers", default=3)
        kinds = config.texts("layer_types")
        if kinds is None:
            kinds = [
                "sliding_attention" if block % period else "full_attention" for block in range(self.n_block)
            ]
        out.set_array(
            ".attention.sliding_window_pattern", [kind == "sliding_attention" for kind in kinds], "bool"
        )
        out.set(".hidden_activation", config.text("hidden_activation", default="gelu"))
        if self.is_classifier:
            pooling = config.text("classifier_pooling", default="cls")
            if pooling not in ("cls", "mean"):
                raise ConversionError(f"config.json: the engine has no classifier_pooling {pooling[:40]!r}")
            out.set_int(".classifier.pooling_type", {"mean": 1, "cls": 2}[pooling])
            out.set(".classifier.activation", config.text("classifier_activation", default="gelu"))

    def rename(self, name: str) -> str | None:
        renamed = super().rename(name)
        if renamed is not None and renamed.startswith("head.") and not self.is_classifier:
            return None
        return renamed

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {**super().shapes(), "blk.ffn_up.weight": (2 * self.n_ff(), self.n_embd)}

    def required(self) -> Iterator[str]:
        yield from super().required()
        yield from ("output_norm.weight", "blk.attn_qkv.weight")
