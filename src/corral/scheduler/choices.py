"""Single decisions about a load: context, batch, threads, flash attention. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from corral.devices import Machine
from corral.gpus import GPU
from corral.scheduler.spec import LoadRequest, SchedulerConfig

_MIB = 1 << 20
_GIB = 1 << 30
# Automatic context by total VRAM (ollama: server/routes.go): at least this much gives this many tokens.
_CONTEXT_TIERS = ((47 * _GIB, 262144), (23 * _GIB, 32768), (0, 4096))
_MIN_NUM_CTX = 4
_MIN_VISION_NUM_CTX = 2048
_DEFAULT_NUM_BATCH = 512
_MAX_EMBEDDING_BATCH = 2048
# On a GPU a larger context gets larger steps (ollama: server/llama_server_load.go): tokens of all slots beyond which
# a batch is tried, its size, what it takes beside the model, and the share of the free memory that may be used then.
_GPU_BATCHES = ((32768, 2048, 2 * _GIB, 60), (4096, 1024, 768 * _MIB, 75))
_GPU_SHARE = 80
_SMALL_GPU_NUM_BATCH = 256
_SMALL_GPU_BYTES = 8 * _GIB
# One core reads weights of this size faster than two can synchronise.
_ONE_THREAD_BYTES = 16 << 20


def choose_num_ctx(
    request: LoadRequest, config: SchedulerConfig, machine: Machine, cap: int | None = None
) -> int:
    """The effective context of one slot, at most what the model was trained for; `cap` bounds automatic."""
    wanted = request.options.num_ctx
    if wanted == 0:
        wanted = config.context_length or _tier(machine)
        if cap is not None:
            wanted = min(wanted, cap)
    wanted = max(wanted, _MIN_VISION_NUM_CTX if request.has_vision else _MIN_NUM_CTX)
    trained = request.shape.n_ctx_train
    return min(wanted, trained) if trained > 0 else wanted


def _tier(machine: Machine) -> int:
    vram = machine.vram_total_bytes
    return next(num_ctx for floor, num_ctx in _CONTEXT_TIERS if vram >= floor)


def lower_tier(num_ctx: int) -> int | None:
    """The next smaller automatic context, None below the smallest."""
    return next((tier for _, tier in _CONTEXT_TIERS if tier < num_ctx), None)


def choose_num_batch(
    request: LoadRequest,
    config: SchedulerConfig,
    gpus: Sequence[GPU],
    num_ctx: int,
    predicted_bytes: int = 0,
    available_bytes: int = 0,
) -> int:
    """Tokens per prompt step. `gpus`: those that the model uses; `num_ctx`: of all slots together.

    On a CPU more than 512 is not faster and lets a long prompt stall the other streams for longer; a GPU with
    room takes larger steps for large contexts. `predicted_bytes` is what the model takes of the `available_bytes` of
    its GPUs; 0: not known.
    """
    if request.options.num_batch is not None:
        return max(request.options.num_batch, 1)
    if not request.has_completion:
        return min(_MAX_EMBEDDING_BATCH, num_ctx)
    if not gpus or request.options.num_gpu == 0:
        return _DEFAULT_NUM_BATCH
    cards = [gpu for gpu in gpus if gpu.library == "cuda"]
    if cards and choose_flash_attention(config, gpus, is_arm=False) is False:
        is_small = any(
            min(gpu.free_bytes or gpu.total_bytes, gpu.total_bytes) <= _SMALL_GPU_BYTES for gpu in cards
        )
        return _SMALL_GPU_NUM_BATCH if is_small and num_ctx > _GPU_BATCHES[-1][0] else _DEFAULT_NUM_BATCH
    for beyond, num_batch, surcharge, share in _GPU_BATCHES:
        has_room = not available_bytes or (
            predicted_bytes <= available_bytes * share // 100
            and predicted_bytes + surcharge <= available_bytes * _GPU_SHARE // 100
        )
        if num_ctx > beyond and has_room:
            return num_batch
    return _DEFAULT_NUM_BATCH


def choose_flash_attention(config: SchedulerConfig, gpus: Sequence[GPU], *, is_arm: bool) -> bool | None:
    """Whether to use flash attention; None: as the engine chooses. `gpus`: those that the model uses.

    On Arm processors, its code for the CPU takes several times as long for a prompt (llama.cpp issue 27086). A
    quantised cache needs it. CUDA devices before 6.0, and 7.2, do not have it (ollama: ml/device.go).
    """
    if config.flash_attention is not None:
        return config.flash_attention
    if config.kv_cache_type not in ("", "f16", "f32", "bf16"):
        return None
    if any(gpu.compute is not None and (gpu.compute < (6, 0) or gpu.compute == (7, 2)) for gpu in gpus):
        return False
    return False if is_arm and not gpus else None


def choose_num_thread(request: LoadRequest, machine: Machine) -> int:
    """Threads of the engine: never more than there are cores.

    The engine's threads spin at barriers, so one thread without a core of its own slows all of them down to
    less than half. Automatic is one thread for a model of a few MB, where the barriers cost more than the work
    between them (docs/benchmarks.md), else one a physical core. The server runs on the hyper-threads; a larger
    machine without them keeps one core for it, on a small one that core is worth more in the engine.
    """
    cpu = machine.cpu
    if request.options.num_thread > 0:
        return min(request.options.num_thread, cpu.logical_count)
    if 0 < request.shape.file_bytes <= _ONE_THREAD_BYTES:
        return 1
    if cpu.physical_count > 4 and cpu.physical_count == cpu.logical_count:
        return cpu.physical_count - 1
    return cpu.physical_count
