"""Refuses model files that are sound as containers but would make the engine abort: the reason beats the crash."""

from __future__ import annotations

import math
import re
from typing import Any

from corral.errors import GGUFError
from corral.gguf.reader import GGUFArray, GGUFFile

__all__ = ["check_loadable"]

_BLOCK = re.compile(r"blk\.(\d+)\.")
_MAX_BLOCKS = 10_000
_MAX_CONTEXT = 1 << 31


def check_loadable(gguf: GGUFFile) -> None:
    """Check what llama.cpp takes for granted. Architectures that we do not know pass on what they share with others.

    Raises:
        GGUFError: with the reason.
    """
    if not gguf.architecture:
        raise GGUFError("metadata has no general.architecture")
    if not gguf.tensors:
        raise GGUFError("file has no tensors")
    _check_blocks(gguf)
    _check_numbers(gguf)
    _check_tokens(gguf)


def _check_blocks(gguf: GGUFFile) -> None:
    count = gguf.get_arch("block_count")
    if count is None:
        return
    if not _is_whole(count) or not 0 < count <= _MAX_BLOCKS:
        raise GGUFError(f"{gguf.architecture}.block_count is {count}, which no model has")
    found = {int(match[1]) for tensor in gguf.tensors if (match := _BLOCK.match(tensor.name))}
    # Some files count blocks that hold no tensors of this name (encoders, extra prediction layers).
    if found and count > 2 * (max(found) + 1) + 64:
        raise GGUFError(
            f"{gguf.architecture}.block_count is {count}, but the file has tensors of {len(found)} blocks"
        )


def _check_numbers(gguf: GGUFFile) -> None:
    context = gguf.get_arch("context_length")
    if context is not None and (not _is_whole(context) or not 0 < context < _MAX_CONTEXT):
        raise GGUFError(f"{gguf.architecture}.context_length is {context}")
    embedding = gguf.get_arch("embedding_length")
    if embedding is not None and (not _is_whole(embedding) or embedding <= 0):
        raise GGUFError(f"{gguf.architecture}.embedding_length is {embedding}")
    for key in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        epsilon = gguf.get_arch(key)
        if epsilon is not None and not (_is_number(epsilon) and math.isfinite(epsilon) and epsilon >= 0):
            raise GGUFError(f"{gguf.architecture}.{key} is {epsilon}, it must be a number of at least 0")
    heads = gguf.get_arch("attention.head_count")
    if _is_whole(heads) and heads <= 0 and gguf.get_arch("block_count"):
        raise GGUFError(f"{gguf.architecture}.attention.head_count is {heads}")
    key_length = gguf.get_arch("attention.key_length")
    if _is_whole(heads) and _is_whole(embedding) and key_length is None and heads and embedding % heads:
        raise GGUFError(
            f"{gguf.architecture}.embedding_length {embedding} is no multiple of {heads} attention heads"
        )


def _check_tokens(gguf: GGUFFile) -> None:
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, GGUFArray):
        return
    if tokens.element_type != "string":
        raise GGUFError("tokenizer.ggml.tokens is no array of strings")
    seen: set[bytes] = set()
    for token in tokens.byte_strings():
        if token in seen:
            raise GGUFError(f"tokenizer.ggml.tokens has the token {token!r} twice")
        seen.add(token)
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        other = gguf.metadata.get(key)
        if isinstance(other, GGUFArray) and len(other) < len(tokens):
            raise GGUFError(f"{key} has {len(other)} entries for {len(tokens)} tokens")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
