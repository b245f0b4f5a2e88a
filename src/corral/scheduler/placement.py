"""The decisions about a load: context, batch, slots, threads, whether it fits, who must go.

Pure functions of the request, the settings and the machine, without any memory; `state.py` decides when to ask.
`difference` is the reload rule: what keeps a loaded runner from serving another request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from corral.devices import Machine
from corral.runner.interface import RunnerSpec, Speculation
from corral.scheduler import speculation
from corral.scheduler.estimate import estimate_memory, kv_bytes
from corral.scheduler.spec import Estimate, LoadRequest, Plan, SchedulerConfig
from corral.weights.architectures import architecture

_GIB = 1 << 30
# Automatic context by total VRAM (ollama: server/routes.go): at least this much gives this many tokens.
_CONTEXT_TIERS = ((47 * _GIB, 262144), (23 * _GIB, 32768), (0, 4096))
_MIN_NUM_CTX = 4
_MIN_VISION_NUM_CTX = 2048
_DEFAULT_NUM_BATCH = 512
_SMALL_GPU_NUM_BATCH = 256
_MAX_EMBEDDING_BATCH = 2048
_MODELS_PER_DEVICE = 3
# A runner beside others may take this share of the free memory.
_FIT_SHARE = (4, 5)
_MAX_CACHE_BYTES = 8 * _GIB
# The chats of a small model take next to nothing.
_LEAST_CACHE_BYTES = 64 << 20
_AUTOMATIC_SLOTS = (4, 2)
# The engine computes a text a slot in one step. More than eight is hardly faster, and slower for long texts: each
# token is compared with those of all texts of a step.
_VECTOR_SLOTS = 8
# One core reads weights of this size faster than two can synchronise.
_ONE_THREAD_BYTES = 16 << 20
# The engine has no more sequences.
_MAX_SLOTS = 256


@dataclass(frozen=True, slots=True)
class Retry:
    """What a second attempt gives up after running out of memory: `num_ctx` caps the automatic context."""

    num_ctx: int | None


# --- single choices ----------------------------------------------------------------------------------------


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


def choose_num_batch(request: LoadRequest, config: SchedulerConfig, machine: Machine, num_ctx: int) -> int:
    """Tokens per prompt step.

    On a CPU more than 512 is not faster and lets a long prompt stall the other streams for longer; a GPU with
    room takes larger steps for large contexts.
    """
    if request.options.num_batch is not None:
        return max(request.options.num_batch, 1)
    if not request.has_completion:
        return min(_MAX_EMBEDDING_BATCH, num_ctx)
    if not machine.gpus or request.options.num_gpu == 0:
        return _DEFAULT_NUM_BATCH
    smallest = min(gpu.total_bytes for gpu in machine.gpus)
    if config.flash_attention is False and machine.gpus[0].library == "cuda" and smallest < 8 * _GIB:
        return _SMALL_GPU_NUM_BATCH
    if num_ctx >= 32768 and machine.vram_total_bytes >= 47 * _GIB:
        return 2048
    if num_ctx >= 8192 and machine.vram_total_bytes >= 23 * _GIB:
        return 1024
    return _DEFAULT_NUM_BATCH


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


def max_loaded_models(config: SchedulerConfig, machine: Machine) -> int:
    """How many runners may exist at once; 0 in the settings means 3 for each GPU, or 3."""
    return config.max_loaded_models or _MODELS_PER_DEVICE * max(len(machine.gpus), 1)


# --- the whole plan ----------------------------------------------------------------------------------------


def plan_load(
    request: LoadRequest, config: SchedulerConfig, machine: Machine, retry: Retry | None = None
) -> Plan:
    """Decide how to start a runner for `request` on `machine` as it is now.

    The automatic number of slots is the largest of 4, 2, 1 whose whole prediction takes at most half of the
    free memory and whose further caches cost at most half of the model itself: slots that nobody uses must
    not push another model out, nor make a load slower (the engine writes all of the cache at load). A model
    for vectors has up to 8. A `retry` takes one.
    """
    options = request.options
    num_ctx = choose_num_ctx(request, config, machine, retry.num_ctx if retry else None)
    num_batch = choose_num_batch(request, config, machine, num_ctx)
    is_offloaded = bool(machine.gpus) and options.num_gpu != 0
    free = _free_bytes(config, machine, is_offloaded=is_offloaded)
    guessing = speculation.choose_speculation(request, config, is_offloaded=is_offloaded)
    candidates = _slot_candidates(request, config, retry)
    for num_parallel in candidates:
        estimate = _estimate(request, config, num_ctx, num_batch, num_parallel, is_offloaded, guessing)
        is_last = num_parallel == candidates[-1]
        if is_last or _is_comfortable(request, config, estimate, num_ctx, num_parallel, free):
            break
    cache_mib = 0 if retry else _cache_mib(request, config, machine, estimate, is_offloaded=is_offloaded)
    spec = RunnerSpec(
        name=request.name,
        weights_path=request.weights_path,
        weights_key=request.weights_key,
        adapter_paths=request.adapter_paths,
        projector_paths=request.projector_paths,
        draft_path=request.draft_path,
        speculation=guessing,
        num_ctx=num_ctx,
        num_parallel=num_parallel,
        num_batch=num_batch,
        num_gpu=0 if config.is_cpu_only else options.num_gpu,
        main_gpu=options.main_gpu,
        use_mmap=options.use_mmap,
        num_thread=choose_num_thread(request, machine),
        is_embedding=request.is_embedding,
        pooling=request.pooling,
        context_shift=request.context_shift,
        kv_cache_type=config.kv_cache_type,
        flash_attention=_flash_attention(config, machine, is_offloaded=is_offloaded),
        fits_memory=config.fits_memory,
        fit_target_mib=config.fit_target_mib,
        cache_ram_mib=cache_mib,
        gives_back=_gives_back(request, is_offloaded=is_offloaded),
        warms_up=request.is_preload,
        keeps_checkpoints=request.shape.window_tokens > 0
        or not architecture(request.family).splits_over_slots,
        kv_bytes_per_token=estimate.kv_bytes // max(num_ctx * num_parallel, 1),
        memory_limit_bytes=_memory_limit(
            estimate, cache_mib, machine, is_offloaded=is_offloaded, is_retry=retry is not None
        ),
    )
    vram = min(estimate.total_bytes, machine.vram_free_bytes) if is_offloaded else 0
    return Plan(spec, estimate, is_offloaded=is_offloaded, vram_bytes=vram)


def _flash_attention(config: SchedulerConfig, machine: Machine, *, is_offloaded: bool) -> bool | None:
    """Whether to use flash attention; None: as the engine chooses.

    On Arm processors, its code for the CPU takes several times as long for a prompt (llama.cpp issue 27086). A
    quantised cache needs it.
    """
    if config.flash_attention is not None or is_offloaded or not machine.cpu.is_arm:
        return config.flash_attention
    return None if config.kv_cache_type not in ("", "f16", "f32", "bf16") else False


def _gives_back(request: LoadRequest, *, is_offloaded: bool) -> bool:
    """Whether the engine copies so much of the mapped file that it is worth dropping its pages after the load."""
    shape = request.shape
    is_mapped = request.options.use_mmap is not False and not is_offloaded
    return is_mapped and shape.repackable_bytes * 4 >= shape.file_bytes > 0


def _slot_candidates(request: LoadRequest, config: SchedulerConfig, retry: Retry | None) -> tuple[int, ...]:
    if not architecture(request.family).splits_over_slots:
        return (1,)
    if not request.has_completion:
        return (1,) if retry else (_VECTOR_SLOTS, *_AUTOMATIC_SLOTS, 1)
    if config.num_parallel > 0:
        return (min(config.num_parallel, _MAX_SLOTS),)
    return (1,) if retry else (*_AUTOMATIC_SLOTS, 1)


def _is_comfortable(
    request: LoadRequest,
    config: SchedulerConfig,
    estimate: Estimate,
    num_ctx: int,
    num_parallel: int,
    free_bytes: int,
) -> bool:
    further = kv_bytes(request.shape, num_ctx, config.kv_cache_type) * (num_parallel - 1)
    if request.shape.is_encoder:
        further = 0
    return estimate.total_bytes <= free_bytes // 2 and further <= max(
        request.shape.file_bytes // 2, _GIB // 4
    )


def _estimate(
    request: LoadRequest,
    config: SchedulerConfig,
    num_ctx: int,
    num_batch: int,
    num_parallel: int,
    is_offloaded: bool,
    guessing: Speculation | None,
) -> Estimate:
    # An embedding input has to fit one physical batch; otherwise the engine computes 512 tokens at a time.
    ubatch = max(num_batch, num_ctx) if request.is_embedding else min(num_batch, 512)
    return estimate_memory(
        request.shape,
        num_ctx=num_ctx,
        num_parallel=1 if request.shape.is_encoder else num_parallel,
        ubatch=ubatch,
        cache_type=config.kv_cache_type,
        is_repacked=not is_offloaded,
        uses_mmap=request.options.use_mmap is not False,
        contexts=2 if guessing is not None and guessing.kind != "ngram-simple" else 1,
    )


def _cache_mib(
    request: LoadRequest, config: SchedulerConfig, machine: Machine, estimate: Estimate, *, is_offloaded: bool
) -> int:
    """Memory for prompts that no slot holds: a client that comes back need not wait for its whole prompt again.

    Automatic is at most a quarter of the free memory, and so little that the model still counts as one that fits.
    """
    if not request.has_completion:
        return 0
    if config.cache_ram_mib is not None:
        return config.cache_ram_mib
    free = machine.free_bytes
    beside = free if is_offloaded else free * _FIT_SHARE[0] // _FIT_SHARE[1] - estimate.total_bytes
    wanted = max(2 * estimate.kv_bytes, _LEAST_CACHE_BYTES)
    return max(min(_MAX_CACHE_BYTES, free // 4, beside, wanted), 0) >> 20


def _memory_limit(
    estimate: Estimate, cache_mib: int, machine: Machine, *, is_offloaded: bool, is_retry: bool
) -> int | None:
    """A bound that turns a mistake into a clean failure, well above any honest need.

    A GPU driver reserves address space far beyond memory, so an offloaded child has none. The second attempt
    gets all of the machine, in case the prediction itself was the mistake.
    """
    if is_offloaded or machine.total_bytes <= 0:
        return None
    if is_retry:
        return machine.total_bytes
    return min(2 * estimate.private_bytes + (cache_mib << 20) + _GIB, machine.total_bytes)


# --- memory and victims ------------------------------------------------------------------------------------


def _free_bytes(config: SchedulerConfig, machine: Machine, *, is_offloaded: bool) -> int:
    """Memory that a new runner may use: a partly offloaded model lives in both memories."""
    if not is_offloaded:
        return machine.free_bytes
    usable = sum(max(gpu.free_bytes - config.gpu_overhead_bytes, 0) for gpu in machine.gpus)
    return usable if any(gpu.is_unified for gpu in machine.gpus) else usable + machine.free_bytes // 2


@dataclass(frozen=True, slots=True)
class Fit:
    """The prediction for a new runner beside others, and the free memory that it is held against."""

    needed_bytes: int
    free_bytes: int

    @property
    def is_enough(self) -> bool:
        """Whether it is predicted to take at most 80 % of the free memory."""
        return self.needed_bytes * _FIT_SHARE[1] <= self.free_bytes * _FIT_SHARE[0]


def fit(plan: Plan, config: SchedulerConfig, machine: Machine) -> Fit:
    """What a new runner beside others needs, and what is free where it will live."""
    if plan.is_offloaded:
        free = sum(max(gpu.free_bytes - config.gpu_overhead_bytes, 0) for gpu in machine.gpus)
    else:
        free = machine.free_bytes
    return Fit(plan.estimate.total_bytes, free)


class _Evictable(Protocol):
    """What the order of eviction looks at."""

    keep_alive_ns: int

    @property
    def spec(self) -> RunnerSpec: ...


_T = TypeVar("_T", bound=_Evictable)


def eviction_order(runners: Iterable[_T]) -> list[_T]:
    """Shortest keep-alive first, those kept forever last, ties by weights path (ollama: server/sched.go)."""
    return sorted(runners, key=lambda runner: (runner.keep_alive_ns, str(runner.spec.weights_path)))


# --- reuse or reload ---------------------------------------------------------------------------------------


def difference(
    spec: RunnerSpec, origin: LoadRequest, request: LoadRequest, config: SchedulerConfig, machine: Machine
) -> str:
    """What keeps the runner that was started as `spec` for `origin` from serving `request`; empty if nothing does.

    Source: server/sched.go, needsReload. Automatic equals automatic whatever was chosen; a negative num_gpu
    matches anything; a runner that serves embeddings serves completions too.
    """
    if request.takes_any_runner:
        return ""
    found = _other_parts(origin, request)
    if origin.options != request.options:
        found += _other_options(spec, origin, request, config, machine)
    found += speculation.difference(spec.speculation, origin, request)
    return ", ".join(found)


def _other_parts(origin: LoadRequest, request: LoadRequest) -> list[str]:
    found = []
    if origin.adapter_paths != request.adapter_paths:
        found.append("other adapters")
    if origin.projector_paths != request.projector_paths:
        found.append("another projector")
    if origin.draft_path != request.draft_path:
        found.append("another draft model")
    if origin.context_shift != request.context_shift:
        found.append(_change("context shift", origin.context_shift, request.context_shift))
    if request.is_embedding and not origin.is_embedding:
        found.append("embeddings off -> on")
    elif request.is_embedding and origin.pooling != request.pooling:
        found.append(_change("pooling", origin.pooling, request.pooling))
    return found


def _other_options(
    spec: RunnerSpec, origin: LoadRequest, request: LoadRequest, config: SchedulerConfig, machine: Machine
) -> list[str]:
    have, want = origin.options, request.options
    found = []
    if have.num_ctx or want.num_ctx:
        num_ctx = choose_num_ctx(request, config, machine)
        if spec.num_ctx != num_ctx:
            found.append(_change("num_ctx", spec.num_ctx, num_ctx))
    if have.num_batch is not None or want.num_batch is not None:
        num_batch = choose_num_batch(request, config, machine, spec.num_ctx)
        if spec.num_batch != num_batch:
            found.append(_change("num_batch", spec.num_batch, num_batch))
    if want.num_gpu >= 0 and want.num_gpu != have.num_gpu:
        found.append(_change("num_gpu", have.num_gpu if have.num_gpu >= 0 else None, want.num_gpu))
    if have.main_gpu != want.main_gpu:
        found.append(_change("main_gpu", have.main_gpu, want.main_gpu))
    if have.use_mmap != want.use_mmap:
        found.append(_change("use_mmap", have.use_mmap, want.use_mmap))
    if have.num_thread != want.num_thread:
        found.append(_change("num_thread", have.num_thread or None, want.num_thread or None))
    return found


def _change(what: str, before: object, after: object) -> str:
    words = {None: "automatic", True: "on", False: "off"}
    shown = [words[value] if value is None or isinstance(value, bool) else value for value in (before, after)]
    return f"{what} {shown[0]} -> {shown[1]}"
