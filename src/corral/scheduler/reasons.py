"""Why a model is loaded, unloaded or kept waiting, in the words of the log."""

from __future__ import annotations

from corral.golang.time import format_duration
from corral.runner.interface import LoadReport, RunnerSpec
from corral.scheduler.placement import Fit
from corral.scheduler.plan import Plan, Retry

KEEP_ALIVE_ZERO = "keep_alive 0"
UNLOAD_REQUESTED = "unload requested"
UNHEALTHY = "unhealthy: no answer to a ping"
OUT_OF_MEMORY = "out of memory"
ENDED = "the engine process ended"
UNWANTED = "no request waits for it any more"
NOT_LOADED = "not loaded"


RESUMED = "the machine was suspended"
GPUS_GONE = "no GPU is found any more"


def fallback(plan: Plan, retry: Retry, load: LoadReport | None) -> str:
    """Why a model is not all on GPUs; empty if it is."""
    where = f"out of memory on {', '.join(sorted(retry.avoided))}: " if retry.avoided else ""
    if not plan.is_offloaded:
        return f"{where}all layers are on the CPU"
    split = plan.split
    done, count = (load.offloaded, load.layer_count) if load else (split.offloaded, split.layer_count)
    wanted = min(plan.spec.num_gpu, count) if plan.spec.num_gpu >= 0 and retry.layers is None else count
    if done < wanted:
        return f"{where}{count - done} of {count} layers are on the CPU"
    is_parted = load is not None and not load.is_whole and wanted == count
    return f"{where}parts of some layers are on the CPU" if is_parted else ""


def idle_for(duration_ns: int) -> str:
    return f"idle for {format_duration(duration_ns)}"


def no_progress(duration_ns: int, load_share: float) -> str:
    return f"no progress for {format_duration(duration_ns)}, {load_share:.0%} loaded"


def reload(difference: str, name: str = "") -> str:
    """`name`: the model that the request asks for, which may be another name for the same weights."""
    return f"reload for {name}: {difference}" if name else f"reload: {difference}"


def load_of(name: str) -> str:
    return f"{name} to be loaded"


def end_of(name: str) -> str:
    return f"{name} to be unloaded"


def others_before(count: int) -> str:
    return f"{count} earlier requests"


def room(name: str, cause: str) -> str:
    return f"room for {name}: {cause}"


def one_at_a_time(group: str, name: str) -> str:
    return f"group {group}: one at a time, and {name} is next"


def together(group: str, name: str, reason: str) -> str:
    """`name`: the member that makes room, for this reason."""
    return f"group {group}: together with {name} ({reason})"


def limit(count: int) -> str:
    return f"limit of {count} loaded model{'s' if count != 1 else ''}"


def shortfall(fit: Fit) -> str:
    text = f"needs {size(fit.needed_bytes)}, {size(fit.free_bytes)} free"
    if fit.is_split:
        return f"{text} on GPUs: not all layers would fit"
    return text if fit.needed_bytes > fit.free_bytes else f"{text} (at most 80% is used)"


def retry(failed: RunnerSpec, spec: RunnerSpec) -> str:
    """What a second attempt gives up; `failed` is the first one."""
    changes = [
        f"{word} {before} -> {after}"
        for word, before, after in (
            ("num_ctx", failed.num_ctx, spec.num_ctx),
            ("slots", failed.num_parallel, spec.num_parallel),
        )
        if before != after
    ]
    before, after = devices_of(failed), devices_of(spec)
    if before != after:
        changes.append(f"devices {before} -> {after}")
    if failed.num_gpu != spec.num_gpu and before == after:
        shown = [str(n) if n >= 0 else "automatic" for n in (failed.num_gpu, spec.num_gpu)]
        changes.append(f"GPU layers {shown[0]} -> {shown[1]}")
    if spec.projector_paths and spec.projector_on_cpu and not failed.projector_on_cpu and before == after:
        changes.append("projector on the CPU")
    if failed.memory_limit_bytes != spec.memory_limit_bytes and spec.memory_limit_bytes is not None:
        changes.append(f"memory limit raised to {size(spec.memory_limit_bytes)}")
    return f"retry after out of memory: {', '.join(changes) or 'no other model is loaded'}"


# How reasons begin, and the word that stands for all of their kind.
_CAUSES = (
    ("room for ", "room"),
    ("group ", "group"),
    ("reload", "reload"),
    ("idle for ", "idle"),
    (KEEP_ALIVE_ZERO, "requested"),
    (UNLOAD_REQUESTED, "requested"),
    (UNHEALTHY, "unhealthy"),
    (OUT_OF_MEMORY, "memory"),
    ("retry after out of memory", "memory"),
    (ENDED, "ended"),
    (UNWANTED, "unwanted"),
    ("no progress for ", "stalled"),
    (NOT_LOADED, "wanted"),
)


def cause_of(reason: str) -> str:
    """The kind of a reason, one of a few words; `other` if it is none of those above."""
    return next((cause for start, cause in _CAUSES if reason.startswith(start)), "other")


def devices_of(spec: RunnerSpec) -> str:
    """The devices that an engine may use, as a word."""
    chosen = spec.gpus.listed if spec.gpus.chosen is None else spec.gpus.chosen
    return "+".join(chosen) or "CPU"


def size(count: int) -> str:
    """Bytes as `corral ps` prints them: decimal units, one place."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1000:.1f} KB"
