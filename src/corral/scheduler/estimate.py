"""How much memory a runner will take: pure arithmetic on a `MemoryShape`.

The key-value cache is exact (the engine commits `n_ctx * layers * kv_heads * (d_k + d_v) * bytes` at load);
the compute buffers are an upper bound found by measuring; both err on the side of more.
"""

from __future__ import annotations

from dataclasses import dataclass

from corral.scheduler.spec import Estimate, MemoryShape

_MIB = 1 << 20
# The engine rounds the context of a slot up to this.
_CONTEXT_STEP = 256
# The child before it has a model: interpreter, engine library, threads.
_PROCESS_BYTES = 64 * _MIB

# Bytes of one block and its elements (ggml's type table); anything unknown counts as f16.
_CACHE_TYPES = {
    "f32": (4, 1),
    "f16": (2, 1),
    "bf16": (2, 1),
    "q8_0": (34, 32),
    "q5_1": (24, 32),
    "q5_0": (22, 32),
    "q4_1": (20, 32),
    "q4_0": (18, 32),
    "iq4_nl": (18, 32),
}


def padded_context(num_ctx: int) -> int:
    """The context that the engine really allocates for a slot of `num_ctx` tokens."""
    return -(-num_ctx // _CONTEXT_STEP) * _CONTEXT_STEP


def kv_bytes(shape: MemoryShape, num_ctx: int, cache_type: str, ubatch: int = 512) -> int:
    """Bytes of one slot's key-value cache. A sliding window keeps its tokens and one batch."""
    whole = shape.kv_elements_per_token * _cells(shape, num_ctx, ubatch, is_windowed=False)
    windowed = shape.window_elements_per_token * _cells(shape, num_ctx, ubatch, is_windowed=True)
    return _cache_bytes(whole + windowed, cache_type)


def _cells(shape: MemoryShape, num_ctx: int, ubatch: int, *, is_windowed: bool) -> int:
    context = padded_context(num_ctx)
    if not (is_windowed and shape.window_tokens):
        return context
    return min(context, padded_context(shape.window_tokens + ubatch))


def _cache_bytes(elements: int, cache_type: str) -> int:
    block_bytes, block_len = _CACHE_TYPES.get(cache_type, _CACHE_TYPES["f16"])
    return -(-elements * block_bytes // block_len)


def _compute_bytes(shape: MemoryShape, num_ctx: int, num_parallel: int, ubatch: int) -> int:
    """Logits, the widest activations, and the attention mask of one batch."""
    row_bytes = 4 * (
        shape.n_vocab + 4 * shape.n_ff + 8 * shape.n_embd + padded_context(num_ctx) * num_parallel
    )
    return ubatch * row_bytes


@dataclass(frozen=True, slots=True)
class LayerNeeds:
    """What a runner takes, part by part. `layers`: weights and key-value cache of each, the output as the last one.

    `compute_bytes`: buffers of each device that computes. `host_bytes`: what stays in the machine's memory anyway.
    `anywhere_bytes`: adapters and a draft model, beside the projector's `projector_bytes`.
    """

    layers: tuple[int, ...]
    compute_bytes: int
    host_bytes: int
    anywhere_bytes: int
    projector_bytes: int

    @property
    def device_bytes(self) -> int:
        """All that one device would hold."""
        return sum(self.layers) + self.compute_bytes + self.anywhere_bytes + self.projector_bytes


def layer_needs(
    shape: MemoryShape, *, num_ctx: int, num_parallel: int, ubatch: int, cache_type: str, contexts: int = 1
) -> LayerNeeds:
    """The parts of what `estimate_memory` predicts for a runner whose layers go to devices."""
    if shape.layer_bytes and len(shape.layer_bytes) == len(shape.layer_kv_elements):
        weights, output = shape.layer_bytes, shape.output_bytes
        cells = [
            _cells(shape, num_ctx, ubatch, is_windowed=windowed) * elements
            for elements, windowed in zip(shape.layer_kv_elements, shape.layer_is_windowed, strict=True)
        ]
        kv = [_cache_bytes(count, cache_type) * num_parallel for count in cells]
        inputs = shape.input_bytes
    else:
        count = max(shape.n_layer, 1)
        weights, output = (shape.file_bytes // (count + 1),) * count, shape.file_bytes // (count + 1)
        kv = [kv_bytes(shape, num_ctx, cache_type, ubatch) * num_parallel // count] * count
        inputs = 0
    return LayerNeeds(
        (*(w + k for w, k in zip(weights, kv, strict=True)), output),
        compute_bytes=_compute_bytes(shape, num_ctx, num_parallel, ubatch) * contexts,
        host_bytes=_PROCESS_BYTES + inputs,
        anywhere_bytes=max(shape.extra_bytes - shape.projector_bytes, 0),
        projector_bytes=shape.projector_bytes,
    )


def estimate_memory(
    shape: MemoryShape,
    *,
    num_ctx: int,
    num_parallel: int,
    ubatch: int,
    cache_type: str,
    is_repacked: bool,
    uses_mmap: bool,
    contexts: int = 1,
) -> Estimate:
    """Predict a runner's memory. `is_repacked`: the CPU engine copies `repackable_bytes` of the weights.

    Of a mapped file, the part that was copied is not needed any more and does not count in the total: the engine
    gives it back (`runner/sourcepages.py`), and the kernel takes it without asking when memory is short.
    `contexts`: 2 where a draft model or a head computes beside the model.
    """
    kv = kv_bytes(shape, num_ctx, cache_type, ubatch) * num_parallel
    compute = _compute_bytes(shape, num_ctx, num_parallel, ubatch) * contexts
    repacked = shape.repackable_bytes if is_repacked else 0
    rest = max(shape.file_bytes - repacked, 0)
    private = _PROCESS_BYTES + kv + compute + repacked + shape.extra_bytes
    if not uses_mmap:
        return Estimate(total_bytes=private + rest, private_bytes=private + rest, kv_bytes=kv)
    return Estimate(total_bytes=private + rest, private_bytes=private, kv_bytes=kv)
