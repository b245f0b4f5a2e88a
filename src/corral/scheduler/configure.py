"""What the scheduler is made of, from the settings of the server."""

from __future__ import annotations

from typing import Protocol

from corral.config import Settings
from corral.gpus import GPU
from corral.scheduler.spec import SchedulerConfig

# Those that may change while the server runs. They hold for loads from then on.
LIVE_SETTINGS = frozenset(
    "keep_alive_ns load_timeout_ns max_loaded_models num_parallel context_length kv_cache_type flash_attention "
    "gpu_overhead_bytes fits_memory fit_target_mib cache_ram_mib speculation prompt_slowdown device_policy is_spread "
    "sections".split()
)


class GPUSource(Protocol):
    """Who knows the GPUs that the engine uses."""

    def read(self, total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
        """What they are, and what is free on them now; the arguments are the machine's. Blocks, raises nothing."""
        ...

    def look_again(self) -> None:
        """One may have been lost, or have come back."""
        ...


def scheduler_config(settings: Settings) -> SchedulerConfig:
    return SchedulerConfig(
        keep_alive_ns=settings.keep_alive_ns,
        load_timeout_ns=settings.load_timeout_ns,
        max_loaded_models=settings.max_loaded_models,
        max_queue=settings.max_queue,
        num_parallel=settings.num_parallel,
        context_length=settings.context_length,
        kv_cache_type=settings.kv_cache_type,
        flash_attention=settings.flash_attention,
        gpu_overhead_bytes=settings.gpu_overhead_bytes,
        is_cpu_only=settings.llm_library.startswith("cpu"),
        device_policy=settings.device_policy,
        is_spread=settings.is_spread,
        fits_memory=settings.fits_memory,
        fit_target_mib=settings.fit_target_mib,
        cache_ram_mib=settings.cache_ram_mib,
        speculation=settings.speculation,
        groups=settings.sections.groups,
        prompt_slowdown=settings.prompt_slowdown,
    )
