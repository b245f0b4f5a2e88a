"""Refuses valid GGUF files that would make the engine abort: an error with the reason instead of a crash."""

from __future__ import annotations

import math
import re
from typing import Any

from corral.errors import GGUFError
from corral.weights.gguf.reader import GGUFArray, GGUFFile

_BLOCK = re.compile(r"blk\.(\d+)\.")
_RECURRENT = re.compile(r"blk\.\d+\.(ssm|time_mix)_")
_ATTENTION = re.compile(r"blk\.\d+\.attn_(q|k|v|qkv)\.weight")
# Limits of llama.cpp: src/llama-hparams.h, ggml/include/ggml.h.
_MAX_BLOCKS = 512
_DATA_ALIGNMENT = 32
_MAX_EXPERTS = 1024
_MAX_TENSOR_NAME_BYTES = 63
_MAX_CONTEXT = 1 << 31
# The largest vocabulary in use has 900,000 tokens.
_MAX_TOKENS = 1 << 20
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")


def check_loadable(gguf: GGUFFile) -> None:
    """Check what llama.cpp assumes. For unknown architectures only the common rules are checked.

    Raises:
        GGUFError: with the reason.
    """
    if not gguf.architecture:
        raise GGUFError("metadata has no general.architecture")
    if not gguf.tensors:
        raise GGUFError("file has no tensors")
    _check_table(gguf)
    _check_blocks(gguf)
    _check_numbers(gguf)
    _check_experts(gguf)
    _check_tokens(gguf)


def _check_table(gguf: GGUFFile) -> None:
    """llama.cpp expects the data of the tensors in order, without gaps."""
    if gguf.data_offset % _DATA_ALIGNMENT:
        raise GGUFError(
            f"the tensors begin at byte {gguf.data_offset}, which is not a multiple of {_DATA_ALIGNMENT} "
            f"(general.alignment is {gguf.alignment})"
        )
    expected = 0
    for tensor in gguf.tensors:
        if len(tensor.name.encode()) > _MAX_TENSOR_NAME_BYTES:
            raise GGUFError(f"the name of tensor {tensor.name!r} is too long")
        if tensor.offset != expected:
            raise GGUFError(f"tensor {tensor.name!r} has offset {tensor.offset}, expected {expected}")
        expected += -(-tensor.size_bytes // gguf.alignment) * gguf.alignment


def _check_blocks(gguf: GGUFFile) -> None:
    count = gguf.get_arch("block_count")
    if count is None:
        return
    if not _is_whole(count) or not 0 < count <= _MAX_BLOCKS:
        raise GGUFError(f"{gguf.architecture}.block_count is {count}, which is out of range")
    found = {int(match[1]) for tensor in gguf.tensors if (match := _BLOCK.match(tensor.name))}
    # Some files count blocks without tensors of this name (encoders, extra prediction layers).
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
    if _is_whole(heads) and (heads < 0 or (heads == 0 and _needs_heads(gguf))):
        raise GGUFError(f"{gguf.architecture}.attention.head_count is {heads}")
    key_length = gguf.get_arch("attention.key_length")
    if _is_whole(heads) and _is_whole(embedding) and key_length is None and heads and embedding % heads:
        raise GGUFError(
            f"{gguf.architecture}.embedding_length {embedding} is not a multiple of {heads} attention heads"
        )


def _needs_heads(gguf: GGUFFile) -> bool:
    """Whether the blocks have attention: those of Mamba and RWKV do not, and their files have 0 heads."""
    if not gguf.get_arch("block_count"):
        return False
    return not any(_RECURRENT.match(tensor.name) for tensor in gguf.tensors) or any(
        _ATTENTION.match(tensor.name) for tensor in gguf.tensors
    )


def _check_experts(gguf: GGUFFile) -> None:
    """Assertions of llama.cpp about experts; see `load_hparams` in its src/llama-model.cpp."""

    def count(key: str) -> int:
        value = gguf.get_arch(key, 0)
        return value if _is_whole(value) else 0

    architecture = gguf.architecture
    experts, used, groups = count("expert_count"), count("expert_used_count"), count("expert_group_count")
    if architecture.startswith("hunyuan") and experts <= 1:
        return
    if not 0 <= experts <= _MAX_EXPERTS or not 0 <= used <= experts or (experts and not used):
        if isinstance(gguf.get_arch("expert_used_count"), GGUFArray):
            return
        raise GGUFError(
            f"{architecture}.expert_count is {experts} and {architecture}.expert_used_count {used}"
        )
    if groups and (groups >= experts or (groups > 1 and experts % groups)):
        raise GGUFError(f"{architecture}.expert_group_count is {groups} for {experts} experts")
    extra = count("nextn_predict_layers")
    if extra > count("block_count") > 0:
        raise GGUFError(f"{architecture}.nextn_predict_layers is {extra}, more than there are blocks")
    scaling = gguf.get_arch("rope.scaling.type")
    if scaling is not None and scaling not in _ROPE_SCALINGS:
        raise GGUFError(f"{architecture}.rope.scaling.type is {scaling!r}, which is unknown")


def _check_tokens(gguf: GGUFFile) -> None:
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, GGUFArray):
        return
    if tokens.element_type != "string":
        raise GGUFError("tokenizer.ggml.tokens is not an array of strings")
    if len(tokens) > _MAX_TOKENS:
        raise GGUFError(f"tokenizer.ggml.tokens has {len(tokens)} tokens, at most {_MAX_TOKENS} are accepted")
    seen: set[bytes] = set()
    for text in tokens.byte_strings():
        token = text.partition(b"\0")[0] if b"\0" in text else text  # the part that the engine reads
        if token in seen:
            raise GGUFError(f"tokenizer.ggml.tokens has the token {token!r} twice")
        if token:  # the engine names empty tokens
            seen.add(token)
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        other = gguf.metadata.get(key)
        if isinstance(other, GGUFArray) and len(other) < len(tokens):
            raise GGUFError(f"{key} has {len(other)} entries for {len(tokens)} tokens")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
