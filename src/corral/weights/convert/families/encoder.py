"""The base of encoders: bidirectional models that produce a vector or a score for a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.family import Family
from corral.weights.convert.families.pooling import write_pooling
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output


class Encoder(Family):
    """`dropped`: prefixes of unneeded tensors, such as language-model heads and poolers."""

    dropped: ClassVar[tuple[str, ...]] = ()

    @property
    def is_classifier(self) -> bool:
        """Whether the model scores texts, as rerankers do."""
        return self.hf_architecture.endswith("ForSequenceClassification")

    def metadata(self, out: Output) -> None:
        config = self.config
        out.set_int(".block_count", self.n_block)
        out.set_int(".context_length", self.context_length())
        out.set_int(".embedding_length", self.n_embd)
        out.set_int(".feed_forward_length", self.n_ff())
        out.set_int(".attention.head_count", self.n_head)
        out.set(".attention.causal", False)
        eps = config.number("layer_norm_eps", "layer_norm_epsilon", "norm_eps", default=1e-12)
        if not 0 <= eps < 1:
            raise ConversionError(f"config.json: layer_norm_eps is {eps}, which no model has")
        out.set_float(".attention.layer_norm_epsilon", eps)
        if self.n_vocab_config is not None:
            out.set_int(".vocab_size", self.n_vocab_config)
        if self.is_classifier:
            out.set_int(".pooling_type", 4)
            out.set_array(".classifier.output_labels", self.labels(), "string")
        else:
            write_pooling(self.checkpoint, out, default="mean")

    def context_length(self) -> int:
        return self.config.integer("max_position_embeddings", "n_positions")

    def n_ff(self) -> int:
        return self.config.integer("intermediate_size", "n_inner")

    def labels(self) -> list[str]:
        """Names of the scores, in order."""
        section = self.config.section("id2label")
        if section is None:
            return ["LABEL_0"]
        names = section.values
        if len(names) > 1024 or not all(key.isdecimal() for key in names):
            raise ConversionError("config.json: id2label has to name each score by its number")
        return [str(names[key]) for key in sorted(names, key=int)]

    def rename(self, name: str) -> str | None:
        name = name.removesuffix(".gamma") + ".weight" if name.endswith(".gamma") else name
        name = name.removesuffix(".beta") + ".bias" if name.endswith(".beta") else name
        return None if name.startswith(self.dropped) else name

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        n, ff = self.n_embd, self.n_ff()
        return {
            "token_embd_norm.weight": (n,),
            "position_embd.weight": (self.context_length(), n),
            "blk.attn_q.weight": (n, n),
            "blk.attn_k.weight": (n, n),
            "blk.attn_v.weight": (n, n),
            "blk.attn_qkv.weight": (3 * n, n),
            "blk.attn_output.weight": (n, n),
            "blk.ffn_up.weight": (ff, n),
            "blk.ffn_gate.weight": (ff, n),
            "blk.ffn_down.weight": (n, ff),
            "cls.weight": (n, n),
            "cls.output.weight": (len(self.labels()), n),
        }

    def required(self) -> Iterable[str]:
        yield from ("token_embd.weight", "token_embd_norm.weight")
        yield from ("blk.attn_output.weight", "blk.ffn_up.weight", "blk.ffn_down.weight")
        if self.is_classifier:
            yield "cls.output.weight"

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        yield name, values
