"""BERT and its descendants: MiniLM, BGE, E5, RoBERTa, CamemBERT, XLM-R, and rerankers based on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.encoder import Encoder
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output


class Bert(Encoder):
    """Position embeddings start at 0; a classifier follows the pooler."""

    gguf_arch = "bert"
    prefixes = ("bert.",)
    names: ClassVar[Mapping[str, str]] = {
        "embeddings.word_embeddings": "token_embd",
        "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types",
        "embeddings.LayerNorm": "token_embd_norm",
        "pooler.dense": "cls",
        "classifier": "cls.output",
    }
    block_names: ClassVar[Mapping[str, str]] = {
        "attention.self.query": "attn_q",
        "attention.self.key": "attn_k",
        "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output",
        "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up",
        "output.dense": "ffn_down",
        "output.LayerNorm": "layer_output_norm",
    }
    dropped: ClassVar[tuple[str, ...]] = ("cls.predictions", "cls.seq_relationship", "lm_head.")

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        if self.config.text("hidden_act", default="gelu") != "gelu":
            raise ConversionError(
                "config.json: the engine knows the activation gelu only for this architecture"
            )
        if self.config.text("position_embedding_type", default="absolute") != "absolute":
            raise ConversionError(
                "config.json: the engine knows absolute positions only for this architecture"
            )
        out.set_int("tokenizer.ggml.token_type_count", self.config.integer("type_vocab_size", default=1))

    def rename(self, name: str) -> str | None:
        renamed = super().rename(name)
        if renamed is not None and renamed.startswith("pooler.") and not self.is_classifier:
            return None
        return renamed

    def required(self) -> Iterable[str]:
        yield from super().required()
        yield from ("position_embd.weight", "blk.attn_q.weight", "blk.attn_k.weight", "blk.attn_v.weight")


class Roberta(Bert):
    """Positions start after the padding token's; the classifier has its own layer."""

    prefixes = ("roberta.",)
    names: ClassVar[Mapping[str, str]] = {
        **{old: new for old, new in Bert.names.items() if not old.startswith(("pooler", "classifier"))},
        "classifier.dense": "cls",
        "classifier.out_proj": "cls.output",
    }
    dropped = ("lm_head.", "pooler.")

    @property
    def _position_offset(self) -> int:
        return self.config.integer("pad_token_id", default=1, minimum=0) + 1

    def context_length(self) -> int:
        length = super().context_length() - self._position_offset
        if length < 1:
            raise ConversionError("config.json: max_position_embeddings is too small")
        return length

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        if name == "position_embd.weight":
            values = values.rows(self._position_offset, values.shape[0])
        yield name, values
