"""The error text for a model that does not fit: what it needs, what is free, what would help."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from corral.devices import Machine
from corral.errors import CorralError, InsufficientMemoryError, RunnerStartError
from corral.scheduler.plan import Plan

_MIB = 1 << 20
_GIB = 1 << 30
# Messages of ggml, CUDA, ROCm, Vulkan, SYCL, Metal and the C++ library, in lower case.
_OUT_OF_MEMORY_MARKS = (
    "insufficient memory",
    "out of memory",
    "outofmemory",
    "outofdevicememory",
    "outofhostmemory",
    "out_of_device_memory",
    "out_of_host_memory",
    "failed to allocate",
    "unable to allocate",
    "memory allocation of size",
    "bad_alloc",
    "cannot allocate memory",
    "resource temporarily unavailable",  # no memory for the stack of a thread
)


def shortage(
    plan: Plan, machine: Machine, cause: CorralError, *, has_others: bool
) -> InsufficientMemoryError:
    """The error for a model whose load ran out of memory. `has_others`: other models are loaded."""
    needed, free = plan.estimate.total_bytes, machine.free_bytes
    kind = "system memory"
    if plan.is_offloaded:
        kind, free = "GPU memory", machine.vram_free_bytes
    if needed > free:
        text = f"model requires more {kind} ({_size(needed)}) than is available ({_size(free)})"
    else:
        text = (
            f"the engine ran out of memory while it loaded the model (about {_size(needed)} of {kind} expected,"
            f" {_size(free)} free): {cause}"
        )
    helps = [f"a smaller num_ctx (now {plan.spec.num_ctx})"]
    if plan.spec.num_parallel > 1:
        helps.append(f"a smaller OLLAMA_NUM_PARALLEL (now {plan.spec.num_parallel})")
    if not plan.spec.kv_cache_type:
        helps.append("OLLAMA_KV_CACHE_TYPE=q8_0")
    helps.append("a smaller model (fewer parameters, lower quantisation)")
    if has_others:
        helps.append("fewer models at a time (OLLAMA_MAX_LOADED_MODELS)")
    return InsufficientMemoryError(
        f"{text}; less is needed with {_joined(helps)}", needed_bytes=needed, free_bytes=free
    )


def kept_beside(
    name: str, plan: Plan, machine: Machine, staying: Sequence[tuple[str, str]]
) -> InsufficientMemoryError:
    """The error for a model that does not fit beside others which do not make room for it.

    `staying`: their names, each with the group because of which it stays.
    """
    needed = plan.estimate.total_bytes
    kind, free = (
        ("GPU memory", machine.vram_free_bytes) if plan.is_offloaded else ("memory", machine.free_bytes)
    )
    others = ", ".join(f"{other} (group {group})" for other, group in staying)
    return InsufficientMemoryError(
        f"{name} needs {_size(needed)} of {kind}, {_size(free)} are free, and these do not make room for it: "
        f"{others}",
        needed_bytes=needed,
        free_bytes=free,
        hint=f"unload one with corral stop, or change the groups in the configuration file; less is needed with a"
        f" smaller num_ctx (now {plan.spec.num_ctx})",
    )


def no_device(name: str, machine: Machine) -> InsufficientMemoryError:
    """The error for a model that must be on GPUs where there is none that it could use."""
    found = ", ".join(gpu.name for gpu in machine.gpus) or "none that the engine can use"
    return InsufficientMemoryError(
        f"{name} must run on a GPU (device_policy is require_gpu), and no GPU has room for it (found: {found});"
        " corral doctor says which GPUs are used",
        needed_bytes=0,
        free_bytes=machine.vram_free_bytes,
    )


def _joined(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + (" or " if len(parts) > 1 else "") + parts[-1]


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.1f} MiB"


def is_out_of_memory(error: CorralError) -> bool:
    """Whether a child died because memory ran out, judging by how it ended and by the end of its stderr.

    A child that is killed while it loads was killed by the kernel: nobody else has a reason to.
    """
    if isinstance(error, RunnerStartError) and error.exit_code == -signal.SIGKILL:
        return True
    text = f"{error} {getattr(error, 'log_tail', '')}".lower()
    return any(mark in text for mark in _OUT_OF_MEMORY_MARKS)
