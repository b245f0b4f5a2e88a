"""What a GGUF file says about the memory its model will take.

Reads metadata and the tensor index, never tensor data. Everything in a file is untrusted: a value of a
wrong type or an absurd size counts as absent. The prediction may then be poor, but it takes few steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from corral.scheduler.spec import MemoryShape
from corral.weights.architectures import architecture

_MAX_LAYERS = 4096
_LAYER = re.compile(r"blk\.(\d{1,4})\.")
_MAX_VALUE = 1 << 40
# Types that the CPU engine stores a second time in an interleaved layout (ggml: repack).
_REPACKED_TYPES = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "Q2_K"})


class _Tensor(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type_name(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def shape(self) -> Sequence[int]: ...


class _GGUF(Protocol):
    """The part of `gguf.GGUFFile` that is needed here."""

    @property
    def architecture(self) -> str: ...
    @property
    def tensors(self) -> Sequence[Any]: ...
    def get_arch(self, key: str, default: Any = None) -> Any: ...


def read_memory_shape(
    gguf: _GGUF, *, file_bytes: int, extra_bytes: int = 0, projector_bytes: int = 0
) -> MemoryShape:
    """Read the memory shape. `extra_bytes`: file sizes of adapters, projectors and a draft model."""
    n_layer = min(_number(gguf, "block_count"), _MAX_LAYERS)
    n_embd = _number(gguf, "embedding_length")
    elements = _kv_elements(gguf, n_layer, n_embd)
    is_windowed = _windowed_layers(gguf, n_layer)
    tensors: Sequence[_Tensor] = gguf.tensors
    layer_bytes, output_bytes, input_bytes = _weights(tensors, n_layer)
    return MemoryShape(
        file_bytes=file_bytes,
        repackable_bytes=sum(
            t.size_bytes for t in tensors if t.type_name in _REPACKED_TYPES and len(t.shape) >= 2
        ),
        n_layer=n_layer,
        n_embd=n_embd,
        n_ff=max(_per_layer(gguf, "feed_forward_length", n_layer, 0), default=0),
        n_vocab=_vocabulary(gguf),
        n_ctx_train=_number(gguf, "context_length"),
        kv_elements_per_token=sum(
            e for e, windowed in zip(elements, is_windowed, strict=True) if not windowed
        ),
        window_elements_per_token=sum(
            e for e, windowed in zip(elements, is_windowed, strict=True) if windowed
        ),
        window_tokens=_number(gguf, "attention.sliding_window"),
        extra_bytes=extra_bytes,
        is_encoder=gguf.get_arch("attention.causal") is False,
        projector_bytes=projector_bytes,
        layer_bytes=layer_bytes,
        layer_kv_elements=tuple(elements),
        layer_is_windowed=tuple(is_windowed),
        output_bytes=output_bytes,
        input_bytes=input_bytes,
    )


def _weights(tensors: Sequence[_Tensor], n_layer: int) -> tuple[tuple[int, ...], int, int]:
    """Bytes of each layer, of the output, and of the embeddings; the output may be a copy of the embeddings."""
    layers = [0] * n_layer
    output = embeddings = 0
    has_output = False
    for tensor in tensors:
        name, size = tensor.name, tensor.size_bytes
        found = _LAYER.match(name)
        if found is not None and int(found[1]) < n_layer:
            layers[int(found[1])] += size
        elif name == "token_embd.weight":
            embeddings += size
        elif name.startswith("output"):
            output += size
            has_output = has_output or name == "output.weight"
    return tuple(layers), output if has_output else output + embeddings, embeddings


def _kv_elements(gguf: _GGUF, n_layer: int, n_embd: int) -> list[int]:
    """K and V elements of one token in each layer; 0 for layers without attention."""
    rank = _number(gguf, "attention.kv_lora_rank")
    if rank and _number(gguf, "attention.key_length_mla"):
        # Multi-head latent attention caches one compressed row and the rotated part.
        return [rank + _number(gguf, "rope.dimension_count")] * n_layer
    n_head = _per_layer(gguf, "attention.head_count", n_layer, 0)
    widest = max(n_head, default=0)
    d_head = n_embd // widest if widest else 0
    width = _number(gguf, "attention.key_length", d_head) + _number(gguf, "attention.value_length", d_head)
    heads = gguf.get_arch("attention.head_count_kv", None)
    n_head_kv = n_head if heads is None else _per_layer(gguf, "attention.head_count_kv", n_layer, 0)
    return [n * width for n in n_head_kv]


def _windowed_layers(gguf: _GGUF, n_layer: int) -> list[bool]:
    """Which layers keep only a sliding window of the context."""
    if not _number(gguf, "attention.sliding_window"):
        return [False] * n_layer
    pattern = gguf.get_arch("attention.sliding_window_pattern", None)
    values = _array(pattern)
    if values is not None:
        flags = [bool(value) for value in values[:n_layer]]
        return flags + [False] * (n_layer - len(flags))
    period = _whole(pattern) or architecture(gguf.architecture).window_period
    if period < 2:
        # An engine that ignores the window keeps everything: count it all.
        return [False] * n_layer
    return [(layer + 1) % period != 0 for layer in range(n_layer)]


def _vocabulary(gguf: _GGUF) -> int:
    tensors: Iterable[_Tensor] = gguf.tensors
    for tensor in tensors:
        if tensor.name == "token_embd.weight" and len(tensor.shape) == 2:
            return max(tensor.shape)
    return _number(gguf, "vocab_size")


def _per_layer(gguf: _GGUF, key: str, n_layer: int, default: int) -> list[int]:
    """A value that is either one number for all layers or one for each."""
    value = gguf.get_arch(key, None)
    values = _array(value)
    if values is None:
        return [_whole(value) or default] * n_layer
    found = [_whole(entry) for entry in values[:n_layer]]
    return found + [default] * (n_layer - len(found))


def _array(value: Any) -> list[Any] | None:
    """The elements of an array of any kind that the reader may return, None for a scalar."""
    if isinstance(value, list | tuple):
        return list(value[:_MAX_LAYERS])
    reader = getattr(value, "values", None)
    if reader is None or len(value) > _MAX_LAYERS:
        return None
    return list(reader())


def _number(gguf: _GGUF, key: str, default: int = 0) -> int:
    return _whole(gguf.get_arch(key, None)) or default


def _whole(value: Any) -> int:
    """A sane non-negative integer, 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= _MAX_VALUE else 0
