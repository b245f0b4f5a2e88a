"""Settings of the engine and of its devices: a part of the table in `settingstable.py`."""

from __future__ import annotations

from corral import settingvalues as values
from corral.setting import Setting

ENGINE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "CORRAL_LLAMA_SERVER",
        "engine.llama_server",
        "llama_server",
        str,
        "",
        "A llama-server binary to use as the engine; `path` takes the one on PATH",
    ),
    Setting(
        "CORRAL_ENGINE",
        "engine.name",
        "engine",
        str,
        "",
        "The engine: `auto` (the best installed one whose devices are there), `builtin`, `native`, `cuda`, `rocm`, "
        "`vulkan`, or a llama-server binary (default: the choice of `corral engine use`, else `auto`)",
    ),
    Setting(
        "CORRAL_SPARE_ENGINE",
        "engine.spare",
        "keeps_spare",
        values.maybe_boolean,
        "auto",
        "Keep a process ready in which the next model is loaded sooner (automatic: with 4 GiB of memory or more)",
    ),
    Setting(
        "CORRAL_ENGINE_INDEX",
        "engine.index",
        "engine_index",
        str,
        "",
        "A mirror of the engine's wheel index for `corral engine install`, with its folders (`cu128`, `vulkan`, ...)",
    ),
    Setting(
        "CORRAL_ENGINE_ENV",
        "engine.env",
        "engine_env",
        values.entries,
        "",
        "Further environment variables to pass to engines, by name or as `FOO_*`; by default they get no secrets",
    ),
    Setting(
        "OLLAMA_LLM_LIBRARY",
        "engine.gpu_library",
        "llm_library",
        str.lower,
        "",
        "Restrict GPU discovery to one backend: `cuda`, `rocm` or `vulkan`; `cpu` disables GPUs",
    ),
    Setting(
        "OLLAMA_LIBRARY_PATH",
        "engine.library_path",
        "library_path",
        str,
        "",
        "Folders that the engine searches first for shared libraries",
    ),
    Setting(
        "OLLAMA_VULKAN",
        "engine.vulkan",
        "uses_vulkan",
        values.boolean,
        "true",
        "0 hides Vulkan devices from an engine that is built with Vulkan",
    ),
    Setting(
        "OLLAMA_IGPU_ENABLE",
        "scheduler.integrated_gpus",
        "counts_integrated",
        values.maybe_boolean,
        "auto",
        "Use integrated graphics where there is no graphics card (1), or not (0); automatic: only where it is fast "
        "(NVIDIA, Apple, Strix Halo)",
    ),
    Setting(
        "OLLAMA_SCHED_SPREAD",
        "scheduler.spread",
        "is_spread",
        values.boolean,
        "false",
        "Spread each model over all GPUs, even if one of them has room for it",
    ),
    Setting(
        "CORRAL_DEVICE_POLICY",
        "scheduler.device_policy",
        "device_policy",
        values.device_policy,
        "prefer_gpu",
        "`prefer_gpu`: what does not fit on GPUs runs on the CPU; `require_gpu`: such a load fails; `cpu`: GPUs are "
        "not used",
    ),
    Setting(
        "LLAMA_ARG_FIT",
        "engine.fit",
        "fits_memory",
        values.on_off,
        "on",
        "Let the engine move layers that do not fit into a GPU to the CPU",
    ),
    Setting(
        "LLAMA_ARG_FIT_TARGET",
        "engine.fit_target_mib",
        "fit_target_mib",
        values.number,
        "0",
        "MiB to leave free on each GPU when it does so (0: the engine's default)",
    ),
)
