"""The whole decision about a load: which devices, how many slots, how much memory, whether it fits.

Pure functions of the request, the settings and the machine, without any memory; `state.py` decides when to ask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from corral.devices import Machine
from corral.gpus import GPU
from corral.runner.interface import GPUChoice, RunnerSpec, Speculation
from corral.scheduler import speculation
from corral.scheduler.choices import (
    choose_flash_attention,
    choose_num_batch,
    choose_num_ctx,
    choose_num_thread,
)
from corral.scheduler.estimate import LayerNeeds, estimate_memory, kv_bytes, layer_needs
from corral.scheduler.plan import FIRST, Plan, Retry
from corral.scheduler.spec import Estimate, LoadRequest, SchedulerConfig
from corral.scheduler.split import NO_SPLIT, Split, available_bytes, best_group, choose, share_out
from corral.weights.architectures import architecture

_MIB = 1 << 20
_GIB = 1 << 30
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
# The engine has no more sequences.
_MAX_SLOTS = 256
_ALL_LAYERS = 1 << 20


def max_loaded_models(config: SchedulerConfig, machine: Machine) -> int:
    """How many runners may exist at once; 0 in the settings means 3 for each GPU, or 3."""
    return config.max_loaded_models or _MODELS_PER_DEVICE * max(len(machine.gpus), 1)


def policy_of(request: LoadRequest, config: SchedulerConfig) -> str:
    """Which devices this model may use, one of `types.DEVICE_POLICIES`."""
    return request.options.device_policy or config.device_policy


def must_use_gpus(request: LoadRequest, config: SchedulerConfig) -> bool:
    """Whether the model is not to be served where it is not on GPUs as a whole."""
    return policy_of(request, config) == "require_gpu"


def may_use_gpus(request: LoadRequest, config: SchedulerConfig) -> bool:
    """Whether a GPU would be used if there were one with room."""
    options = request.options
    is_refused = config.is_cpu_only or policy_of(request, config) == "cpu"
    return not is_refused and options.num_gpu != 0 and (options.main_gpu is None or options.main_gpu >= 0)


def plan_load(request: LoadRequest, config: SchedulerConfig, machine: Machine, retry: Retry = FIRST) -> Plan:
    """Decide how to start a runner for `request` on `machine` as it is now.

    The automatic number of slots is the largest of 4, 2, 1 whose whole prediction takes at most half of the
    free memory and whose further caches cost at most half of the model itself: slots that nobody uses must
    not push another model out, nor make a load slower (the engine writes all of the cache at load). A model
    for vectors has up to 8. A `retry` takes one.
    """
    num_ctx = choose_num_ctx(request, config, machine, retry.num_ctx)
    gpus = _gpus_for(request, config, machine, retry)
    *more, least = _slot_candidates(request, config, retry)
    for num_parallel in more:
        draft = _draft(request, config, machine, gpus, retry, num_ctx, num_parallel)
        if _is_comfortable(request, config, machine, draft):
            break
    else:
        draft = _draft(request, config, machine, gpus, retry, num_ctx, least)
    return _plan(request, config, machine, retry, draft)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plan for one number of slots; see `Plan`."""

    num_ctx: int
    num_parallel: int
    num_batch: int
    estimate: Estimate
    gpus: tuple[GPU, ...] = ()
    split: Split = NO_SPLIT
    room: tuple[tuple[str, int], ...] = ()
    room_bytes: int = 0
    whole_bytes: int = 0
    guessing: Speculation | None = None


def _gives_back(request: LoadRequest, *, is_offloaded: bool) -> bool:
    """Whether the engine copies so much of the mapped file that it is worth dropping its pages after the load."""
    shape = request.shape
    is_mapped = request.options.use_mmap is not False and not is_offloaded
    return is_mapped and shape.repackable_bytes * 4 >= shape.file_bytes > 0


def _gpus_for(
    request: LoadRequest, config: SchedulerConfig, machine: Machine, retry: Retry
) -> tuple[GPU, ...]:
    """The devices from which to choose; empty: the processor alone."""
    if not may_use_gpus(request, config) or retry.on_cpu:
        return ()
    return tuple(gpu for gpu in machine.gpus if gpu.key not in retry.avoided)


def _draft(
    request: LoadRequest,
    config: SchedulerConfig,
    machine: Machine,
    gpus: tuple[GPU, ...],
    retry: Retry,
    num_ctx: int,
    num_parallel: int,
) -> _Draft:
    num_batch = choose_num_batch(request, config, (), num_ctx * num_parallel)
    if not gpus:
        guessing = speculation.choose_speculation(request, config, is_offloaded=False)
        estimate = _estimate(request, config, num_ctx, num_batch, num_parallel, guessing, is_offloaded=False)
        return _Draft(num_ctx, num_parallel, num_batch, estimate, guessing=guessing)
    guessing = speculation.choose_speculation(request, config, is_offloaded=True)
    available = {
        gpu.key: available_bytes(gpu, config.gpu_overhead_bytes, config.fit_target_mib) for gpu in gpus
    }
    needs = _needs(request, config, num_ctx, num_batch, num_parallel, guessing)
    wanted = retry.layers if retry.layers is not None else _wanted(request)
    used, split = _choose(request, config, gpus, needs, available, wanted)
    room = sum(available[gpu.key] for gpu in used)
    larger = choose_num_batch(request, config, used, num_ctx * num_parallel, needs.device_bytes, room)
    if larger != num_batch:
        num_batch = larger
        needs = _needs(request, config, num_ctx, num_batch, num_parallel, guessing)
        split = share_out(needs, used, available, wanted if wanted < _ALL_LAYERS else len(needs.layers))
    if retry.projector_on_cpu:
        split = replace(split, projector_on_cpu=True)
    estimate = _estimate(request, config, num_ctx, num_batch, num_parallel, guessing, is_offloaded=True)
    is_single = len(used) == 1 or not (config.is_spread or request.options.tensor_split)
    whole = needs.device_bytes - sum(needs.layers[: max(len(needs.layers) - wanted, 0)])
    considered = used if request.options.main_gpu is not None else gpus
    return _Draft(
        num_ctx,
        num_parallel,
        num_batch,
        estimate,
        used,
        split,
        tuple((gpu.key, available[gpu.key]) for gpu in considered),
        room,
        whole if is_single else 0,
        guessing,
    )


def _wanted(request: LoadRequest) -> int:
    return request.options.num_gpu if request.options.num_gpu >= 0 else _ALL_LAYERS


def _choose(
    request: LoadRequest,
    config: SchedulerConfig,
    gpus: tuple[GPU, ...],
    needs: LayerNeeds,
    available: dict[str, int],
    wanted: int,
) -> tuple[tuple[GPU, ...], Split]:
    main = request.options.main_gpu
    if main is not None:
        # The number is the engine's; one that it does not have is its error.
        used = tuple(gpu for gpu in gpus if gpu.index == main)[:1]
        return used, share_out(needs, used, available, min(wanted, len(needs.layers)))
    if request.options.tensor_split:
        group = best_group(gpus, available)
        return group, share_out(needs, group, available, min(wanted, len(needs.layers)))
    return choose(needs, gpus, available, wanted=wanted, is_spread=config.is_spread)


def _ubatch(request: LoadRequest, num_ctx: int, num_batch: int, *, is_offloaded: bool) -> int:
    # An embedding input has to fit one physical batch. A GPU computes a step at once; on a CPU that is not faster.
    if request.is_embedding:
        return max(num_batch, num_ctx)
    return num_batch if is_offloaded else min(num_batch, 512)


def _contexts(guessing: Speculation | None) -> int:
    """How many contexts compute: a draft model or a head has one of its own."""
    return 2 if guessing is not None and guessing.kind != "ngram-simple" else 1


def _needs(
    request: LoadRequest,
    config: SchedulerConfig,
    num_ctx: int,
    num_batch: int,
    num_parallel: int,
    guessing: Speculation | None,
) -> LayerNeeds:
    return layer_needs(
        request.shape,
        num_ctx=num_ctx,
        num_parallel=1 if request.shape.is_encoder else num_parallel,
        ubatch=_ubatch(request, num_ctx, num_batch, is_offloaded=True),
        cache_type=config.kv_cache_type,
        contexts=_contexts(guessing),
    )


def _estimate(
    request: LoadRequest,
    config: SchedulerConfig,
    num_ctx: int,
    num_batch: int,
    num_parallel: int,
    guessing: Speculation | None,
    *,
    is_offloaded: bool,
) -> Estimate:
    return estimate_memory(
        request.shape,
        num_ctx=num_ctx,
        num_parallel=1 if request.shape.is_encoder else num_parallel,
        ubatch=_ubatch(request, num_ctx, num_batch, is_offloaded=is_offloaded),
        cache_type=config.kv_cache_type,
        is_repacked=not is_offloaded,
        uses_mmap=request.options.use_mmap is not False,
        contexts=_contexts(guessing),
    )


def _plan(
    request: LoadRequest, config: SchedulerConfig, machine: Machine, retry: Retry, draft: _Draft
) -> Plan:
    options, split = request.options, draft.split
    is_offloaded = bool(draft.gpus)
    is_required = must_use_gpus(request, config)
    cache_mib = 0 if retry.is_any else _cache_mib(request, config, machine, draft)
    num_gpu = options.num_gpu if retry.layers is None else retry.layers
    if is_offloaded and is_required and num_gpu < 0:
        num_gpu = split.layer_count
    spec = RunnerSpec(
        name=request.name,
        weights_path=request.weights_path,
        weights_key=request.weights_key,
        adapter_paths=request.adapter_paths,
        projector_paths=request.projector_paths,
        draft_path=request.draft_path,
        speculation=draft.guessing,
        prompt_slowdown=config.prompt_slowdown,
        num_ctx=draft.num_ctx,
        num_parallel=draft.num_parallel,
        num_batch=draft.num_batch,
        num_ubatch=draft.num_batch if is_offloaded else 0,
        num_gpu=num_gpu if is_offloaded or not machine.gpus else 0,
        main_gpu=options.main_gpu,
        tensor_split=_tensor_split(request, machine, draft.gpus) if is_offloaded else (),
        gpus=_gpu_choice(machine, draft.gpus),
        projector_on_cpu=split.projector_on_cpu if is_offloaded else bool(machine.gpus),
        direct_io=any(gpu.is_unified and gpu.library in ("cuda", "rocm") for gpu in draft.gpus),
        must_be_on_gpus=is_offloaded and is_required and num_gpu >= split.layer_count,
        use_mmap=options.use_mmap,
        num_thread=choose_num_thread(request, machine),
        is_embedding=request.is_embedding,
        pooling=request.pooling,
        context_shift=request.context_shift,
        kv_cache_type=config.kv_cache_type,
        flash_attention=choose_flash_attention(config, draft.gpus, is_arm=machine.cpu.is_arm),
        fits_memory=config.fits_memory and not is_required,
        fit_target_mib=_fit_target_mib(config),
        cache_ram_mib=cache_mib,
        gives_back=_gives_back(request, is_offloaded=is_offloaded),
        warms_up=request.is_preload,
        keeps_checkpoints=request.shape.window_tokens > 0
        or not architecture(request.family).splits_over_slots,
        kv_bytes_per_token=draft.estimate.kv_bytes // max(draft.num_ctx * draft.num_parallel, 1),
        memory_limit_bytes=_memory_limit(draft.estimate, cache_mib, machine, is_retry=retry.is_any),
    )
    return Plan(
        spec,
        draft.estimate,
        is_offloaded=is_offloaded,
        split=split,
        gpus=draft.gpus,
        room=draft.room,
        room_bytes=draft.room_bytes,
        whole_bytes=draft.whole_bytes,
    )


def _gpu_choice(machine: Machine, used: tuple[GPU, ...]) -> GPUChoice:
    listed = tuple(gpu.key for gpu in machine.gpus)
    return GPUChoice(listed, tuple(gpu.key for gpu in used) if len(used) != len(listed) or not used else None)


def _tensor_split(request: LoadRequest, machine: Machine, used: tuple[GPU, ...]) -> tuple[float, ...]:
    if request.options.tensor_split or not 1 < len(used) < len(machine.gpus):
        return request.options.tensor_split
    # For an engine that can only be kept off a device by giving it nothing.
    return tuple(round(gpu.free_bytes / _GIB, 3) for gpu in used)


def _fit_target_mib(config: SchedulerConfig) -> int:
    """What stays free on each device when the engine chooses layers; 0: its default. The overhead may exceed it."""
    if config.fit_target_mib:
        return config.fit_target_mib
    overhead_mib = -(-config.gpu_overhead_bytes // _MIB)
    return overhead_mib if overhead_mib > 1024 else 0


def _slot_candidates(request: LoadRequest, config: SchedulerConfig, retry: Retry) -> tuple[int, ...]:
    if not architecture(request.family).splits_over_slots:
        return (1,)
    if not request.has_completion:
        return (1,) if retry.is_any else (_VECTOR_SLOTS, *_AUTOMATIC_SLOTS, 1)
    if config.num_parallel > 0:
        return (min(config.num_parallel, _MAX_SLOTS),)
    return (1,) if retry.is_any else (*_AUTOMATIC_SLOTS, 1)


def _is_comfortable(request: LoadRequest, config: SchedulerConfig, machine: Machine, draft: _Draft) -> bool:
    further = kv_bytes(request.shape, draft.num_ctx, config.kv_cache_type) * (draft.num_parallel - 1)
    if request.shape.is_encoder:
        further = 0
    free = draft.room_bytes if draft.gpus else machine.free_bytes
    return (
        draft.estimate.total_bytes <= free // 2
        and (not draft.gpus or draft.split.is_whole)
        and further <= max(request.shape.file_bytes // 2, _GIB // 4)
    )


def _cache_mib(request: LoadRequest, config: SchedulerConfig, machine: Machine, draft: _Draft) -> int:
    """Memory for prompts that no slot holds: a client that comes back need not wait for its whole prompt again.

    Automatic is at most a quarter of the free memory, and so little that the model still counts as one that fits.
    """
    if not request.has_completion:
        return 0
    if config.cache_ram_mib is not None:
        return config.cache_ram_mib
    free, estimate = machine.free_bytes, draft.estimate
    beside = free if draft.gpus else free * _FIT_SHARE[0] // _FIT_SHARE[1] - estimate.total_bytes
    wanted = max(2 * estimate.kv_bytes, _LEAST_CACHE_BYTES)
    return max(min(_MAX_CACHE_BYTES, free // 4, beside, wanted), 0) >> 20


def _memory_limit(estimate: Estimate, cache_mib: int, machine: Machine, *, is_retry: bool) -> int | None:
    """A bound that turns a mistake into a clean failure, well above any honest need.

    A GPU driver reserves address space far beyond memory, so a child that may have one loaded has none. The second
    attempt gets all of the machine, in case the prediction itself was the mistake.
    """
    if machine.gpus or machine.total_bytes <= 0:
        return None
    if is_retry:
        return machine.total_bytes
    return min(2 * estimate.private_bytes + (cache_mib << 20) + _GIB, machine.total_bytes)


@dataclass(frozen=True, slots=True)
class Fit:
    """The prediction for a new runner beside others, and the free memory that it is held against."""

    needed_bytes: int
    free_bytes: int
    is_split: bool = False

    @property
    def is_enough(self) -> bool:
        """Whether it is predicted to take at most 80 % of the free memory, and all wanted layers fit on devices."""
        return not self.is_split and self.needed_bytes * _FIT_SHARE[1] <= self.free_bytes * _FIT_SHARE[0]


def fit(plan: Plan, machine: Machine) -> Fit:
    """What a new runner beside others needs, and what is free where it will live."""
    if not plan.is_offloaded:
        return Fit(plan.estimate.total_bytes, machine.free_bytes)
    if not plan.split.is_whole:
        return Fit(plan.estimate.total_bytes, plan.room_bytes, is_split=True)
    if any(gpu.is_unified for gpu in plan.gpus):
        return Fit(plan.split.device_bytes + plan.split.host_bytes, machine.free_bytes)
    host = Fit(plan.split.host_bytes, machine.free_bytes)
    return host if not host.is_enough else Fit(plan.split.device_bytes, plan.room_bytes)
