"""Llama 2, 3 and 3.x, Mistral, and models with the same structure."""

from __future__ import annotations

from corral.weights.convert.families.decoder import Decoder


class Llama(Decoder):
    """The engine rotates neighbouring pairs, so the rows of queries and keys are permuted."""

    gguf_arch = "llama"
    has_permuted_heads = True
    default_eps = 1e-6
