"""The reload rule: what keeps a loaded runner from serving another request. Pure functions."""

from __future__ import annotations

from corral.devices import Machine
from corral.runner.interface import RunnerSpec
from corral.scheduler import speculation
from corral.scheduler.choices import choose_num_batch, choose_num_ctx
from corral.scheduler.spec import LoadRequest, SchedulerConfig


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
        num_batch = choose_num_batch(request, config, machine.gpus, spec.num_ctx * spec.num_parallel)
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
    if have.tensor_split != want.tensor_split:
        found.append(_change("tensor_split", have.tensor_split or None, want.tensor_split or None))
    if have.device_policy != want.device_policy:
        found.append(_change("device_policy", have.device_policy or None, want.device_policy or None))
    return found


def _change(what: str, before: object, after: object) -> str:
    words = {None: "automatic", True: "on", False: "off"}
    shown = [words[value] if value is None or isinstance(value, bool) else value for value in (before, after)]
    return f"{what} {shown[0]} -> {shown[1]}"
