"""Nomic Embed 1 and 1.5: BERT with rotary positions and a gated feed-forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from corral.errors import ConversionError
from corral.weights.convert.families.encoder import Encoder
from corral.weights.convert.families.rope import Rope
from corral.weights.convert.output import Output

# The context length in training; config.json has the length to which it may be extended.
_TRAINED_POSITIONS = 2048


class NomicBert(Encoder):
    gguf_arch = "nomic-bert"
    prefixes = ("bert.", "nomic_bert.")
    names: ClassVar[Mapping[str, str]] = {
        "embeddings.word_embeddings": "token_embd",
        "embeddings.token_type_embeddings": "token_types",
        "emb_ln": "token_embd_norm",
    }
    block_names: ClassVar[Mapping[str, str]] = {
        "attn.Wqkv": "attn_qkv",
        "attn.out_proj": "attn_output",
        "norm1": "attn_output_norm",
        "mlp.fc11": "ffn_up",
        "mlp.fc12": "ffn_gate",
        "mlp.fc2": "ffn_down",
        "norm2": "layer_output_norm",
    }
    dropped = ("cls.", "pooler.", "lm_head.")

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        config = self.config
        if config.integer("moe_every_n_layers", default=0, minimum=0):
            raise ConversionError("config.json: Nomic Embed with experts cannot be converted")
        plain = {"prenorm": False, "rotary_emb_interleaved": False, "qkv_proj_bias": False, "causal": False}
        for name, expected in plain.items():
            if config.boolean(name, default=expected) is not expected:
                raise ConversionError(f"config.json: the engine expects {name} to be {str(expected).lower()}")
        if config.number("rotary_emb_fraction", default=1.0) != 1.0:
            raise ConversionError(
                "config.json: for this architecture the engine only supports rotating whole heads"
            )
        theta = config.number("rotary_emb_base", default=Rope.of(config, 1000.0).theta)
        out.set_float(".rope.freq_base", theta)
        out.set_int("tokenizer.ggml.token_type_count", config.integer("type_vocab_size", default=1))

    def context_length(self) -> int:
        return min(
            super().context_length(), self.config.integer("max_trained_positions", default=_TRAINED_POSITIONS)
        )

    def required(self) -> Iterator[str]:
        yield from super().required()
        yield from ("blk.attn_qkv.weight", "blk.ffn_gate.weight")
