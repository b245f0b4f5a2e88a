"""What the next attempt to load gives up after the last one ran out of memory, until nothing is left. Pure functions.

On devices: first the slots, the projector, and the other models there; then layers; then the automatic context; then
the device, for another one, and in the end for the processor. A model that must be on devices gives up no layers.
"""

from __future__ import annotations

from dataclasses import replace

from corral.devices import Machine
from corral.scheduler.choices import lower_tier
from corral.scheduler.placement import policy_of
from corral.scheduler.plan import Plan, Retry
from corral.scheduler.spec import LoadRequest, SchedulerConfig


def next_retry(
    plan: Plan,
    last: Retry,
    request: LoadRequest,
    config: SchedulerConfig,
    machine: Machine,
    *,
    has_others: bool,
) -> Retry | None:
    """What follows the failed `plan`, which was made with `last`; None when there is nothing left to give up.

    `has_others`: other models are loaded, which an attempt after the first one does not leave where it goes.
    """
    if not plan.is_offloaded:
        return None if last.is_any else _on_host(plan, request, config, machine, has_others=has_others)
    for step in (_alone, _fewer_layers, _shorter_context, _another_device, _processor):
        if (found := step(plan, last, request, config, machine, has_others)) is not None:
            return found
    return None


def _on_host(
    plan: Plan, request: LoadRequest, config: SchedulerConfig, machine: Machine, *, has_others: bool
) -> Retry | None:
    lowered = _lowered(plan, request, config)
    limit = plan.spec.memory_limit_bytes
    has_more = (
        has_others
        or lowered is not None
        or _has_slots(plan, config)
        or (limit is not None and limit < machine.total_bytes)
    )
    return Retry(lowered) if has_more else None


def _lowered(plan: Plan, request: LoadRequest, config: SchedulerConfig) -> int | None:
    is_automatic = request.options.num_ctx == 0 and not config.context_length
    return lower_tier(plan.spec.num_ctx) if is_automatic else None


def _has_slots(plan: Plan, config: SchedulerConfig) -> bool:
    return plan.spec.num_parallel > 1 and config.num_parallel == 0


def _alone(
    plan: Plan, last: Retry, request: LoadRequest, config: SchedulerConfig, machine: Machine, has_others: bool
) -> Retry | None:
    """One slot, no other model on these devices, and the projector on the processor."""
    has_projector = bool(request.projector_paths) and not plan.spec.projector_on_cpu
    if last.projector_on_cpu or (last.is_any and not has_projector):
        return None
    if not (has_others or has_projector or _has_slots(plan, config)):
        return None
    return replace(last, is_any=True, projector_on_cpu=has_projector)


def _fewer_layers(
    plan: Plan, last: Retry, request: LoadRequest, config: SchedulerConfig, machine: Machine, has_others: bool
) -> Retry | None:
    is_automatic = request.options.num_gpu < 0 and policy_of(request, config) != "require_gpu"
    if not is_automatic or last.num_ctx is not None:
        return None
    count = plan.split.layer_count
    now = last.layers if last.layers is not None else plan.split.offloaded or count
    fewer = next((n for n in (count * 3 // 4, count // 2, count // 4) if 0 < n < now), None)
    return replace(last, is_any=True, layers=fewer) if fewer else None


def _shorter_context(
    plan: Plan, last: Retry, request: LoadRequest, config: SchedulerConfig, machine: Machine, has_others: bool
) -> Retry | None:
    """With it all layers are tried again: what lacked may have been the cache."""
    lowered = _lowered(plan, request, config)
    return replace(last, is_any=True, num_ctx=lowered, layers=None) if lowered else None


def _another_device(
    plan: Plan, last: Retry, request: LoadRequest, config: SchedulerConfig, machine: Machine, has_others: bool
) -> Retry | None:
    avoided = last.avoided | {gpu.key for gpu in plan.gpus}
    is_chosen = request.options.main_gpu is not None or bool(request.options.tensor_split)
    if is_chosen or all(gpu.key in avoided for gpu in machine.gpus):
        return None
    return Retry(avoided=avoided, projector_on_cpu=last.projector_on_cpu)


def _processor(
    plan: Plan, last: Retry, request: LoadRequest, config: SchedulerConfig, machine: Machine, has_others: bool
) -> Retry | None:
    is_required = policy_of(request, config) == "require_gpu"
    avoided = last.avoided | {gpu.key for gpu in plan.gpus}
    return None if is_required else Retry(num_ctx=last.num_ctx, avoided=avoided, on_cpu=True)
