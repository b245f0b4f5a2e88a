"""Qwen 2, 2.5 and 3, dense: the engine rotates halves like the source, so nothing is permuted."""

from __future__ import annotations

from collections.abc import Iterable

from corral.weights.convert.families.decoder import Decoder


class Qwen2(Decoder):
    """Biases on queries, keys and values."""

    gguf_arch = "qwen2"
    default_eps = 1e-6

    def rename(self, name: str) -> str | None:
        # Some writers store a tied output; the engine uses the embedding.
        if name == "lm_head.weight" and self.config.boolean("tie_word_embeddings", default=False):
            return None
        return name


class Qwen3(Qwen2):
    """Norms on queries and keys instead of biases."""

    gguf_arch = "qwen3"

    def required(self) -> Iterable[str]:
        yield from super().required()
        yield from ("blk.attn_q_norm.weight", "blk.attn_k_norm.weight")
