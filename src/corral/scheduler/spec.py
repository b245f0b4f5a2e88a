"""What a request asks of the scheduler, and the scheduler's settings: plain values without behaviour.

A `LoadRequest` is a wish (options as the client gave them, automatic where it gave none); a
`runner.interface.RunnerSpec` is the decision that `placement.py` makes of it. The two are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corral.configfile.sections import Group
from corral.runner.interface import DraftKind, LoadReport
from corral.types import LoadOptions

# Go's largest duration: Ollama's "never unload".
FOREVER_NS = (1 << 63) - 1
_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class MemoryShape:
    """What a model's memory depends on. `shape.py` reads it from a GGUF file.

    `kv_elements_per_token` counts K and V of all layers that keep the whole context; `window_*` the layers
    that keep a sliding window only. `repackable_bytes`: weights that the CPU engine copies into another
    layout. `layer_bytes` are the weights of each layer, `layer_kv_elements` K and V of one token in each, and
    `layer_is_windowed` which keep a sliding window; empty: not known. `output_bytes` is the output matrix, which the
    engine counts as one more layer, `input_bytes` the embeddings of tokens, which stay in the machine's memory.
    `projector_bytes` are part of `extra_bytes`. `is_encoder`: every token attends to all of a text, so that nothing
    is cached.
    """

    file_bytes: int = 0
    repackable_bytes: int = 0
    n_layer: int = 0
    n_embd: int = 0
    n_ff: int = 0
    n_vocab: int = 0
    n_ctx_train: int = 0
    kv_elements_per_token: int = 0
    window_elements_per_token: int = 0
    window_tokens: int = 0
    extra_bytes: int = 0  # adapters, projectors and a draft model: their file sizes
    is_encoder: bool = False
    projector_bytes: int = 0
    layer_bytes: tuple[int, ...] = ()
    layer_kv_elements: tuple[int, ...] = ()
    layer_is_windowed: tuple[bool, ...] = ()
    output_bytes: int = 0
    input_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """The model and the load-time options that one request needs.

    `options.num_ctx`: 0 is automatic, a negative value asks for the smallest context. `context_shift` is
    the effective value. `is_embedding`: the runner must serve embeddings. `takes_any_runner`: a runner of these
    weights serves whatever it was started with, because only its vocabulary is needed. `engine`: settings of the
    scheduler that differ for this model, as fields of `SchedulerConfig`. `is_preload`: nobody waits for an answer
    yet. `details` is passed through to `/api/ps`. `draft_kind` is how the engine uses the draft model;
    `has_heads`: the weights hold a head for the token after the next one, which it can use; `can_rewind`: it can drop
    the last tokens of a sequence. `needs_logprobs`: the answer is to have log probabilities.
    """

    weights_path: Path
    weights_key: str
    name: str
    manifest_digest: str
    options: LoadOptions = field(default_factory=LoadOptions)
    adapter_paths: tuple[Path, ...] = ()
    projector_paths: tuple[Path, ...] = ()
    draft_path: Path | None = None
    draft_kind: DraftKind = "draft-simple"
    has_heads: bool = False
    can_rewind: bool = False
    needs_logprobs: bool = False
    context_shift: bool = True
    is_embedding: bool = False
    has_completion: bool = True
    has_vision: bool = False
    family: str = ""
    pooling: str | None = None
    takes_any_runner: bool = False
    engine: tuple[tuple[str, Any], ...] = ()
    is_preload: bool = field(default=False, compare=False)
    shape: MemoryShape = field(default_factory=MemoryShape)
    details: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """The settings that the scheduler obeys; zeros and None mean automatic, as in the environment variables.

    `load_timeout_ns` is a stall timeout, 0 or less waits forever. `keep_alive_ns` negative is forever.
    """

    keep_alive_ns: int = 5 * _MINUTE_NS
    load_timeout_ns: int = 5 * _MINUTE_NS
    max_loaded_models: int = 0
    max_queue: int = 512
    num_parallel: int = 0
    context_length: int = 0
    kv_cache_type: str = ""
    flash_attention: bool | None = None
    gpu_overhead_bytes: int = 0
    is_cpu_only: bool = False
    device_policy: str = "prefer_gpu"
    is_spread: bool = False
    fits_memory: bool = True
    fit_target_mib: int = 0
    cache_ram_mib: int | None = None
    speculation: bool | None = None
    groups: tuple[Group, ...] = ()
    prompt_slowdown: int = 3
    # A runner that was idle for longer is pinged before it gets a request.
    ping_after_idle_ns: int = 30_000_000_000


def config_for(request: LoadRequest, config: SchedulerConfig) -> SchedulerConfig:
    """The settings as they are for the model of a request."""
    return replace(config, **dict(request.engine)) if request.engine else config


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted memory of a runner. `private_bytes`: without the mapped file, what RLIMIT_DATA counts."""

    total_bytes: int
    private_bytes: int
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class RunnerState:
    """What a loaded model does right now. Memory in bytes; `waiting_count` requests wait for a slot of it.

    `context_ratio`: the share of the context of all its slots that running requests hold.
    """

    name: str
    memory_bytes: int
    vram_bytes: int
    slot_count: int
    running_count: int
    waiting_count: int
    context_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadedInfo:
    """One line of `/api/ps`. `expires_at_ns` is wall-clock time since the epoch. `load`: where the model is, if GPUs
    may have been used; `fallback`: why it is not all on them. `groups`: names of those that it is in; `is_pinned`: it
    never makes room for another model.
    """

    name: str
    manifest_digest: str
    weights_key: str
    size_bytes: int
    size_vram_bytes: int
    expires_at_ns: int
    num_ctx: int
    details: object
    load: LoadReport | None = None
    fallback: str = ""
    groups: tuple[str, ...] = ()
    is_pinned: bool = False
