"""Gemma 1, 2 and 3, text part. The source stores norm weights minus 1; the engine expects the full values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.config import Config
from corral.weights.convert.families.decoder import BLOCK_NAMES, Decoder
from corral.weights.convert.families.rope import Rope
from corral.weights.convert.lazy import Lazy
from corral.weights.convert.output import Output

_SANDWICH_NAMES = {
    **BLOCK_NAMES,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}

# Vision parts.
_VISION = ("vision_tower.", "multi_modal_projector.")


class Gemma(Decoder):
    """The output is always tied to the embedding."""

    gguf_arch = "gemma"
    default_eps = 1e-6

    def rename(self, name: str) -> str | None:
        return None if name == "lm_head.weight" else name

    def change(self, name: str, values: Lazy) -> Iterable[tuple[str, Lazy]]:
        if name.endswith("norm.weight"):
            values = values.computed(lambda array: array + 1)
        yield name, values


class Gemma2(Gemma):
    """Norms before and after, capped logits, a sliding window in every other layer."""

    gguf_arch = "gemma2"
    block_names = _SANDWICH_NAMES

    def metadata(self, out: Output) -> None:
        super().metadata(out)
        config = self.config
        out.set_int(".attention.sliding_window", config.integer("sliding_window", default=4096))
        for name, default in (("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0)):
            cap = config.number(name, default=default)
            if config.values.get(name, default) is None or cap <= 0:
                raise ConversionError(f"config.json: the engine needs {name} to be a positive number")
            out.set_float(f".{name}", cap)
        self._check_scale(n_block_by_width=46)

    def _check_scale(self, *, n_block_by_width: int) -> None:
        """The engine derives the attention scale; only models with this many layers use another one."""
        scale = self.config.number("query_pre_attn_scalar", default=float(self.head_dim))
        engine = self.n_embd // self.n_head if self.n_block == n_block_by_width else self.head_dim
        if scale != engine:
            raise ConversionError(
                f"config.json: query_pre_attn_scalar is {scale:g}, but the engine computes with {engine}"
            )


class Gemma3(Gemma2):
    """Norms on queries and keys; most layers have a sliding window and a separate rotary base."""

    gguf_arch = "gemma3"
    # In vision models the text part is nested deeper.
    prefixes = ("model.language_model.", "language_model.model.", "language_model.", "model.")

    def __init__(self, checkpoint: Checkpoint, config: Config, architecture: str) -> None:
        # The config.json of vision models omits values that equal the smallest model's.
        defaults = {
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "max_position_embeddings": 131_072,
        }
        given = {name: value for name, value in config.values.items() if value is not None}
        super().__init__(checkpoint, Config({**defaults, **given}), architecture)

    default_theta = 1_000_000.0

    def metadata(self, out: Output) -> None:
        Gemma.metadata(self, out)
        config = self.config
        if config.has("attn_logit_softcapping"):
            raise ConversionError(
                "config.json: the engine does not cap attention logits of this architecture"
            )
        out.set_int(".attention.sliding_window", config.integer("sliding_window"))
        out.set_array(".attention.sliding_window_pattern", self._is_sliding(), "bool")
        out.set_float(".rope.freq_base_swa", Rope.local_theta(config, "rope_local_base_freq", 10_000.0))
        if config.has("final_logit_softcapping"):
            out.set_float(".final_logit_softcapping", config.number("final_logit_softcapping"))
        self._check_scale(n_block_by_width=62)

    def _is_sliding(self) -> list[bool]:
        kinds = self.config.texts("layer_types")
        if kinds is not None:
            if len(kinds) != self.n_block:
                raise ConversionError(
                    f"config.json: layer_types has {len(kinds)} entries for {self.n_block} layers"
                )
            return [kind == "sliding_attention" for kind in kinds]
        period = self.config.integer("sliding_window_pattern", "_sliding_window_pattern", default=6)
        return [(block + 1) % period != 0 for block in range(self.n_block)]

    def rename(self, name: str) -> str | None:
        return None if name.removeprefix("model.").startswith(_VISION) else super().rename(name)

    def required(self) -> Iterator[str]:
        yield from super().required()
        yield from ("blk.attn_q_norm.weight", "blk.attn_k_norm.weight", "blk.post_ffw_norm.weight")
