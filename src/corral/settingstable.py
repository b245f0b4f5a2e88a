"""The table of all settings: variable, place in the configuration file, field of `Settings`, how its text is read,
default as printed, meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral import settingvalues as values
from corral.hostaddress import HostAddress


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable: the field it fills, how its text is read, and what it means.

    `path` is its `section.key` in the configuration file, `shown` the default as printed.
    The value of one that `is_secret` is never printed.
    """

    name: str
    path: str
    field: str
    read: Callable[[str], Any]
    shown: str
    meaning: str
    is_secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "OLLAMA_HOST", "server.host", "host", HostAddress.parse, "127.0.0.1:11434", "Address to listen on"
    ),
    Setting(
        "OLLAMA_MODELS",
        "server.models_dir",
        "models_dir",
        Path,
        "~/.ollama/models",
        "Folder that holds the models",
    ),
    Setting(
        "OLLAMA_KEEP_ALIVE",
        "scheduler.keep_alive",
        "keep_alive_ns",
        values.keep_alive,
        "5m",
        "How long a model stays loaded after its last request (negative: forever)",
    ),
    Setting(
        "OLLAMA_LOAD_TIMEOUT",
        "scheduler.load_timeout",
        "load_timeout_ns",
        values.duration,
        "5m",
        "Abort a load that makes no progress for this long (0: never)",
    ),
    Setting(
        "OLLAMA_CONTEXT_LENGTH",
        "scheduler.context_length",
        "context_length",
        values.number,
        "0",
        "Context length unless the model or the request sets one (0: chosen by GPU memory)",
    ),
    Setting(
        "OLLAMA_NUM_PARALLEL",
        "scheduler.num_parallel",
        "num_parallel",
        values.number,
        "0",
        "Concurrent requests per model (0: up to 4, as memory allows)",
    ),
    Setting(
        "OLLAMA_MAX_LOADED_MODELS",
        "scheduler.max_loaded_models",
        "max_loaded_models",
        values.number,
        "0",
        "Maximum number of loaded models (0: three per GPU, or three without a GPU)",
    ),
    Setting(
        "OLLAMA_MAX_QUEUE",
        "limits.max_queue",
        "max_queue",
        values.number,
        "512",
        "Maximum number of queued requests; further ones get 503",
    ),
    Setting(
        "OLLAMA_ORIGINS",
        "server.origins",
        "origins",
        values.entries,
        "",
        "Additional allowed CORS origins, separated by commas; local ones are always allowed",
    ),
    Setting(
        "OLLAMA_DEBUG",
        "log.debug",
        "log_level",
        values.log_level,
        "INFO",
        "1: debug log; negative: warnings only",
    ),
    Setting(
        "OLLAMA_FLASH_ATTENTION",
        "engine.flash_attention",
        "flash_attention",
        values.maybe_boolean,
        "auto",
        "Turn flash attention on (1) or off (0); automatic: as the engine chooses, but off on Arm CPUs",
    ),
    Setting(
        "OLLAMA_KV_CACHE_TYPE",
        "engine.kv_cache_type",
        "kv_cache_type",
        values.kv_cache_type,
        "f16",
        "KV cache type (f16, q8_0, q4_0)",
    ),
    Setting(
        "OLLAMA_GO_TEMPLATE",
        "prompts.go_template",
        "go_template",
        values.maybe_boolean,
        "auto",
        "Prefer (1) or ignore (0) the Go template of models that also have a Jinja template",
    ),
    Setting(
        "OLLAMA_LLAMA_CPP_COMPAT",
        "engine.translate",
        "translates",
        values.boolean,
        "true",
        "Translate models whose layout the engine cannot load (0: pass every file to it unchanged)",
    ),
    Setting(
        "OLLAMA_GPU_OVERHEAD",
        "scheduler.gpu_overhead",
        "gpu_overhead_bytes",
        values.number,
        "0",
        "VRAM to reserve on each GPU, in bytes",
    ),
    Setting(
        "OLLAMA_NOPRUNE", "store.no_prune", "no_prune", values.boolean, "false", "Keep unreferenced blobs"
    ),
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
        "The engine: `builtin`, `native`, or a llama-server binary (default: the choice of `corral engine use`)",
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
        "true",
        "Models are always spread over all visible GPUs; hide some with `CUDA_VISIBLE_DEVICES` or"
        " `ROCR_VISIBLE_DEVICES`",
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
    Setting(
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "registry.max_streams",
        "transfer_streams",
        values.number,
        "0",
        "Maximum connections per blob of a pull (0: up to 16, adapted to the throughput)",
    ),
    Setting(
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "log.requests",
        "logs_requests",
        values.boolean,
        "false",
        "Save the bodies of inference requests in a temporary folder, with scripts that replay them",
    ),
    Setting(
        "CORRAL_HANG_TIMEOUT",
        "engine.hang_timeout",
        "hang_timeout_ns",
        values.duration,
        "5m",
        "Kill an engine that is busy but has produced nothing for this long (0: never)",
    ),
    Setting(
        "CORRAL_CLIENT_TIMEOUT",
        "limits.client_timeout",
        "client_timeout_ns",
        values.duration,
        "5m",
        "Drop clients that stall mid-request or stop reading the response for this long (0: never)",
    ),
    Setting(
        "CORRAL_MAX_BODY_BYTES",
        "limits.max_body_bytes",
        "max_body_bytes",
        values.number,
        "67108864",
        "Largest request body, excluding uploads",
    ),
    Setting(
        "CORRAL_MAX_BODIES_BYTES",
        "limits.max_bodies_bytes",
        "max_bodies_bytes",
        values.number,
        "134217728",
        "Memory for all request bodies together; when it is used up, large requests get 503",
    ),
    Setting(
        "CORRAL_MAX_CONNECTIONS",
        "limits.max_connections",
        "max_connections",
        values.number,
        "0",
        "Maximum open connections; beyond it idle ones are closed, then new ones get 503 (0: by the open-file limit)",
    ),
    Setting(
        "CORRAL_WORK_TIMEOUT",
        "limits.work_timeout",
        "work_timeout_ns",
        values.duration,
        "5s",
        "CPU time limit for a template or a schema; a large request body gets twice, an image three times as much",
    ),
    Setting(
        "CORRAL_LOOP_GUARD",
        "log.loop_guard",
        "loop_guard_ns",
        values.duration,
        "0",
        "Log work that holds the event loop for this much CPU time (0: never)",
    ),
    Setting(
        "CORRAL_LOCAL_FILES",
        "store.local_files",
        "local_files",
        values.local_files,
        "link",
        "How create takes local files: `link` shares their blocks where possible, `copy` never links, "
        "`off` makes clients upload them",
    ),
    Setting(
        "CORRAL_MAX_JSON_DEPTH",
        "limits.max_json_depth",
        "max_json_depth",
        values.number,
        "500",
        "Maximum nesting depth of request JSON",
    ),
    Setting(
        "CORRAL_METRICS",
        "metrics.enabled",
        "has_metrics",
        values.boolean,
        "1",
        "Count requests, tokens and what the scheduler does, for Prometheus at /metrics (0: off)",
    ),
    Setting(
        "CORRAL_METRICS_VLLM",
        "metrics.vllm_aliases",
        "has_vllm_metrics",
        values.boolean,
        "",
        "Show metrics under vLLM's names too, for dashboards that know those",
    ),
    Setting(
        "CORRAL_REGISTRY",
        "registry.serve",
        "registry_mode",
        values.registry_mode,
        "off",
        "Serve the models to other machines under /v2/: `pull`, or `push` to accept new ones too",
    ),
    Setting(
        "CORRAL_CACHE_RAM",
        "engine.cache_ram_mib",
        "cache_ram_mib",
        values.maybe_number,
        "auto",
        "RAM, in MiB, for prompts that no slot of an engine holds any more (0: none; automatic: at most 8192, a "
        "quarter of the free memory, and twice the model's KV cache)",
    ),
    Setting(
        "CORRAL_PROMPT_STATES",
        "engine.prompt_states_mib",
        "prompt_states_mib",
        values.maybe_number,
        "auto",
        "Disk space, in MiB, for computed prompts of unloaded models, which need not be computed again (0: none; "
        "automatic: at most 4096, and a twentieth of the free space)",
    ),
    Setting(
        "CORRAL_REGISTRY_PULL_THROUGH",
        "registry.pull_through",
        "is_pull_through",
        values.boolean,
        "false",
        "Fetch a missing model that another machine asks for under /v2/, and keep it",
    ),
    Setting(
        "OLLAMA_CLOUD_BASE_URL",
        "registry.account_url",
        "cloud_base_url",
        str,
        "https://ollama.com:443",
        "Account service of `signin` and `signout`; used for nothing else",
    ),
    Setting(
        "CORRAL_OFFLINE",
        "registry.offline",
        "is_offline",
        values.boolean,
        "false",
        "Never contact a registry",
    ),
    Setting(
        "CORRAL_DEFAULT_REGISTRY",
        "registry.default",
        "registry",
        str,
        "https://registry.ollama.ai",
        "Registry for model names without a host",
    ),
    Setting(
        "CORRAL_REGISTRY_MIRRORS",
        "registry.mirrors",
        "registry_mirrors",
        values.entries,
        "",
        "Registries to try first: `URL` for names without a host, `HOST=URL` for names on that host",
    ),
    Setting(
        "CORRAL_REGISTRY_TRUSTED_HOSTS",
        "registry.trusted_hosts",
        "registry_trusted_hosts",
        values.entries,
        "",
        "Hosts (`host` or `host:port`) that redirects and token services may point to, even private ones",
    ),
    Setting(
        "CORRAL_PULL_RATE",
        "registry.pull_rate",
        "pull_bytes_per_s",
        values.rate,
        "0",
        "Bandwidth limit of all downloads together, per second, as in `10MB` (0: unlimited)",
    ),
    Setting(
        "HF_TOKEN",
        "registry.hugging_face_token",
        "hugging_face_token",
        str,
        "",
        "Token for private repositories on Hugging Face",
        is_secret=True,
    ),
    Setting(
        "CORRAL_PULL_STALL_TIMEOUT",
        "registry.pull_stall_timeout",
        "pull_stall_timeout_ns",
        values.duration,
        "30s",
        "Restart a download part that receives nothing for this long",
    ),
    Setting(
        "CORRAL_PULL_RETRY_DELAY",
        "registry.pull_retry_delay",
        "pull_retry_delay_ns",
        values.duration,
        "1s",
        "Pause after the first failure of a download part; it doubles with each of the next five",
    ),
    Setting(
        "CORRAL_RESPONSES_DB",
        "responses.database",
        "responses_db",
        Path,
        "~/.ollama/responses.sqlite3",
        "Database of stored responses (`/v1/responses`)",
    ),
    Setting(
        "CORRAL_RESPONSES_MAX_AGE",
        "responses.max_age",
        "responses_max_age_ns",
        values.duration,
        "720h",
        "How long a stored response is kept after its conversation was last used (0: store none)",
    ),
    Setting(
        "CORRAL_RESPONSES_MAX_BYTES",
        "responses.max_bytes",
        "responses_max_bytes",
        values.number,
        "268435456",
        "Maximum size of all stored responses; beyond it the oldest are deleted",
    ),
)
