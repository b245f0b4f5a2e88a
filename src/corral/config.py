"""Settings from the environment, read once into a frozen object.

`SETTINGS` is the one table: it drives reading, `serve --help` and docs/configuration.md. Names and meanings are
Ollama's where Ollama has the setting (ollama: envconfig/config.go); those of our own begin with `CORRAL_`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from corral import settingvalues as values
from corral.errors import CorralError
from corral.hostaddress import HostAddress, host_problem, strip_setting

__all__ = [
    "SETTINGS",
    "HostAddress",
    "Setting",
    "Settings",
    "environment_of",
    "format_settings_markdown",
]

_SECOND_NS = 1_000_000_000
_MINUTE_NS = 60 * _SECOND_NS


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable: the field it fills, how its text is read, and what it means. `shown` is the default as told."""

    name: str
    field: str
    read: Callable[[str], Any]
    shown: str
    meaning: str


def _doubt(setting: Setting, text: str) -> str:
    """What to warn of although the text has a meaning."""
    is_switch = setting.read in (values.boolean, values.maybe_boolean)
    if is_switch and text not in values.TRUE + values.FALSE and text.lower() not in ("yes", "y", "on"):
        return f"{setting.name}={text!r} is taken as yes; write 0 for no"
    if setting.name == "OLLAMA_SCHED_SPREAD" and text in values.FALSE:
        return f"{setting.name}={text!r} has no effect: {setting.meaning}"
    if setting.name == "OLLAMA_HOST" and text.startswith("https://"):
        return "OLLAMA_HOST begins with https://, but the server speaks plain HTTP: put a proxy with TLS in front"
    return ""


SETTINGS: tuple[Setting, ...] = (
    Setting("OLLAMA_HOST", "host", HostAddress.parse, "127.0.0.1:11434", "Address to listen on"),
    Setting("OLLAMA_MODELS", "models_dir", Path, "~/.ollama/models", "Folder of the models"),
    Setting(
        "OLLAMA_KEEP_ALIVE",
        "keep_alive_ns",
        values.keep_alive,
        "5m",
        "How long a model stays loaded after its last request (negative: for ever)",
    ),
    Setting(
        "OLLAMA_LOAD_TIMEOUT",
        "load_timeout_ns",
        values.duration,
        "5m",
        "How long a load may make no progress before it is given up (0: no limit)",
    ),
    Setting(
        "OLLAMA_CONTEXT_LENGTH",
        "context_length",
        values.number,
        "0",
        "Context length unless the model or the request says one (0: by memory of the GPU)",
    ),
    Setting(
        "OLLAMA_NUM_PARALLEL",
        "num_parallel",
        values.number,
        "0",
        "Requests that one model serves at a time (0: up to 4, as memory allows)",
    ),
    Setting(
        "OLLAMA_MAX_LOADED_MODELS",
        "max_loaded_models",
        values.number,
        "0",
        "Models loaded at a time (0: three for each GPU, or three)",
    ),
    Setting(
        "OLLAMA_MAX_QUEUE", "max_queue", values.number, "512", "Requests that may wait before others get 503"
    ),
    Setting(
        "OLLAMA_ORIGINS", "origins", values.entries, "", "Origins of web pages allowed beside the local ones"
    ),
    Setting("OLLAMA_DEBUG", "log_level", values.log_level, "INFO", "1 logs more, a negative number less"),
    Setting(
        "OLLAMA_FLASH_ATTENTION", "flash_attention", values.maybe_boolean, "auto", "Flash attention on or off"
    ),
    Setting(
        "OLLAMA_KV_CACHE_TYPE",
        "kv_cache_type",
        values.kv_cache_type,
        "f16",
        "Type of the KV cache (f16, q8_0, q4_0)",
    ),
    Setting(
        "OLLAMA_GO_TEMPLATE",
        "go_template",
        values.maybe_boolean,
        "auto",
        "Prefer (1) or ignore (0) Go templates of models that also bring a Jinja template",
    ),
    Setting(
        "OLLAMA_LLAMA_CPP_COMPAT",
        "translates",
        values.boolean,
        "true",
        "Translate models in layouts that the engine does not load (0: give it every file as it is)",
    ),
    Setting("OLLAMA_GPU_OVERHEAD", "gpu_overhead_bytes", values.number, "0", "Bytes of each GPU left alone"),
    Setting("OLLAMA_NOPRUNE", "no_prune", values.boolean, "false", "Keep blobs that nothing refers to"),
    Setting(
        "CORRAL_LLAMA_SERVER",
        "llama_server",
        str,
        "",
        "A llama-server binary to use as engine; `path` looks for one on PATH",
    ),
    Setting(
        "CORRAL_ENGINE",
        "engine",
        str,
        "",
        "The engine: `builtin`, `native`, or a binary (default: what `corral engine use` chose)",
    ),
    Setting(
        "CORRAL_ENGINE_ENV",
        "engine_env",
        values.entries,
        "",
        "Further variables that engines get, by name or as `FOO_*`; secrets of the server are kept from them",
    ),
    Setting(
        "OLLAMA_LLM_LIBRARY",
        "llm_library",
        str.lower,
        "",
        "The only backend that may find GPUs: `cuda`, `rocm`, `vulkan`, or `cpu` for none",
    ),
    Setting(
        "OLLAMA_LIBRARY_PATH",
        "library_path",
        str,
        "",
        "Folders where the engine looks for shared libraries first",
    ),
    Setting(
        "OLLAMA_VULKAN",
        "uses_vulkan",
        values.boolean,
        "true",
        "0 hides Vulkan's devices from the engine, which has to be built for them",
    ),
    Setting(
        "OLLAMA_IGPU_ENABLE",
        "counts_integrated",
        values.boolean,
        "false",
        "Count graphics inside a processor (AMD) as a GPU when memory is planned",
    ),
    Setting(
        "OLLAMA_SCHED_SPREAD",
        "is_spread",
        values.boolean,
        "true",
        "A model is spread over all visible GPUs in any case; hide some with `CUDA_VISIBLE_DEVICES` or"
        " `ROCR_VISIBLE_DEVICES`",
    ),
    Setting(
        "LLAMA_ARG_FIT",
        "fits_memory",
        values.on_off,
        "on",
        "Whether the engine itself moves layers that do not fit out of a GPU",
    ),
    Setting(
        "LLAMA_ARG_FIT_TARGET",
        "fit_target_mib",
        values.number,
        "0",
        "MiB of each GPU that it leaves free when it does (0: the engine's default)",
    ),
    Setting(
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "transfer_streams",
        values.number,
        "0",
        "Most connections for one blob of a pull (0: up to 16, as many as help)",
    ),
    Setting(
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "logs_requests",
        values.boolean,
        "false",
        "Keep the bodies of inference requests in a temporary folder, with scripts that send them again",
    ),
    Setting(
        "CORRAL_HANG_TIMEOUT",
        "hang_timeout_ns",
        values.duration,
        "5m",
        "A busy engine that says nothing for so long is stopped (0: never)",
    ),
    Setting(
        "CORRAL_CLIENT_TIMEOUT",
        "client_timeout_ns",
        values.duration,
        "5m",
        "A client that sends half a request, or does not read its answer, for so long is dropped (0: never)",
    ),
    Setting(
        "CORRAL_MAX_BODY_BYTES",
        "max_body_bytes",
        values.number,
        "67108864",
        "Largest request body, uploads apart",
    ),
    Setting(
        "CORRAL_MAX_BODIES_BYTES",
        "max_bodies_bytes",
        values.number,
        "134217728",
        "All request bodies that are held at a time; beyond it large requests get 503",
    ),
    Setting(
        "CORRAL_MAX_CONNECTIONS",
        "max_connections",
        values.number,
        "0",
        "Open connections; beyond it idle ones are closed, then new ones get 503 (0: by the limit of open files)",
    ),
    Setting(
        "CORRAL_WORK_TIMEOUT",
        "work_timeout_ns",
        values.duration,
        "5s",
        "Processor time that a template or a schema may take; a large request body twice, an image three times that",
    ),
    Setting(
        "CORRAL_LOOP_GUARD",
        "loop_guard_ns",
        values.duration,
        "0",
        "Log work that uses so much processor time on the event loop without a pause (0: none)",
    ),
    Setting(
        "CORRAL_LOCAL_FILES",
        "local_files",
        values.local_files,
        "link",
        "What create does with files of this machine: `link` shares their blocks where it can, `copy` never links, "
        "`off` has clients upload them",
    ),
    Setting(
        "CORRAL_MAX_JSON_DEPTH", "max_json_depth", values.number, "500", "Deepest nesting of request JSON"
    ),
    Setting(
        "CORRAL_REGISTRY",
        "registry_mode",
        values.registry_mode,
        "off",
        "Offer the models to other machines under /v2/: `pull`, or `push` to take new ones too",
    ),
    Setting(
        "CORRAL_CACHE_RAM",
        "cache_ram_mib",
        values.number,
        "0",
        "MiB that an engine may keep evicted prompts in",
    ),
    Setting(
        "CORRAL_REGISTRY_PULL_THROUGH",
        "is_pull_through",
        values.boolean,
        "false",
        "Fetch a model that another machine asks for under /v2/ and that is missing, once, and keep it",
    ),
    Setting(
        "OLLAMA_CLOUD_BASE_URL",
        "cloud_base_url",
        str,
        "https://ollama.com:443",
        "Where the account is that signs pushes (`signin`, `signout`); nothing else goes there",
    ),
    Setting("CORRAL_OFFLINE", "is_offline", values.boolean, "false", "Never talk to a registry"),
    Setting(
        "CORRAL_DEFAULT_REGISTRY",
        "registry",
        str,
        "https://registry.ollama.ai",
        "Where names without a host are pulled from and pushed to",
    ),
    Setting(
        "CORRAL_REGISTRY_MIRRORS",
        "registry_mirrors",
        values.entries,
        "",
        "Registries to try first: `URL` for names without a host, `HOST=URL` for names on that host",
    ),
    Setting(
        "CORRAL_REGISTRY_TRUSTED_HOSTS",
        "registry_trusted_hosts",
        values.entries,
        "",
        "`host` or `host:port` that registries may send us to, private or not, also for their tokens",
    ),
    Setting(
        "CORRAL_PULL_RATE",
        "pull_bytes_per_s",
        values.rate,
        "0",
        "Bandwidth of all downloads, as in `10MB` a second (0: all)",
    ),
    Setting("HF_TOKEN", "hugging_face_token", str, "", "Token for private repositories on Hugging Face"),
    Setting(
        "CORRAL_PULL_STALL_TIMEOUT",
        "pull_stall_timeout_ns",
        values.duration,
        "30s",
        "A part of a download that brings nothing for so long is started again",
    ),
    Setting(
        "CORRAL_PULL_RETRY_DELAY",
        "pull_retry_delay_ns",
        values.duration,
        "1s",
        "Pause after the first failure of a part; it doubles with each further one, up to the sixth",
    ),
    Setting(
        "CORRAL_RESPONSES_DB",
        "responses_db",
        Path,
        "~/.ollama/responses.sqlite3",
        "File of the responses that clients of `/v1/responses` asked to store",
    ),
    Setting(
        "CORRAL_RESPONSES_MAX_AGE",
        "responses_max_age_ns",
        values.duration,
        "720h",
        "How long a stored response is kept after its conversation was last used (0: none is stored)",
    ),
    Setting(
        "CORRAL_RESPONSES_MAX_BYTES",
        "responses_max_bytes",
        values.number,
        "268435456",
        "How much stored responses may hold before the oldest are dropped",
    ),
)

# Not in the table, yet nothing to warn of: what the command line reads, and what always holds here.
_KNOWN = frozenset({"OLLAMA_NOHISTORY", "OLLAMA_EDITOR", "OLLAMA_NO_CLOUD", "CORRAL_HOME"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, typed. Durations in nanoseconds, zeros mean what the table says."""

    host: HostAddress = field(default_factory=lambda: HostAddress.parse(""))
    models_dir: Path = field(default_factory=lambda: Path.home() / ".ollama" / "models")
    keep_alive_ns: int = 5 * _MINUTE_NS
    load_timeout_ns: int = 5 * _MINUTE_NS
    context_length: int = 0
    num_parallel: int = 0
    max_loaded_models: int = 0
    max_queue: int = 512
    origins: tuple[str, ...] = ()
    log_level: str = "INFO"
    flash_attention: bool | None = None
    kv_cache_type: str = ""
    go_template: bool | None = None
    translates: bool = True
    gpu_overhead_bytes: int = 0
    no_prune: bool = False
    llama_server: str = ""
    engine: str = ""
    engine_env: tuple[str, ...] = ()
    llm_library: str = ""
    library_path: str = ""
    uses_vulkan: bool = True
    counts_integrated: bool = False
    is_spread: bool = True
    fits_memory: bool = True
    fit_target_mib: int = 0
    transfer_streams: int = 0
    logs_requests: bool = False
    hang_timeout_ns: int = 5 * _MINUTE_NS
    client_timeout_ns: int = 5 * _MINUTE_NS
    max_body_bytes: int = 64 << 20
    max_bodies_bytes: int = 128 << 20
    max_connections: int = 0
    work_timeout_ns: int = 5 * _SECOND_NS
    loop_guard_ns: int = 0
    max_json_depth: int = 500
    local_files: Literal["link", "copy", "off"] = "link"
    registry_mode: str = "off"
    is_pull_through: bool = False
    cloud_base_url: str = "https://ollama.com:443"
    cache_ram_mib: int = 0
    is_offline: bool = False
    registry: str = ""
    registry_mirrors: tuple[str, ...] = ()
    registry_trusted_hosts: tuple[str, ...] = ()
    pull_bytes_per_s: int = 0
    hugging_face_token: str = field(default="", repr=False)
    pull_stall_timeout_ns: int = 30 * _SECOND_NS
    pull_retry_delay_ns: int = _SECOND_NS
    responses_db: Path = field(default_factory=lambda: Path.home() / ".ollama" / "responses.sqlite3")
    responses_max_age_ns: int = 720 * 60 * _MINUTE_NS
    responses_max_bytes: int = 256 << 20
    # What could not be read and was replaced by its default, for the log.
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings.

        Raises:
            CorralError: an origin that can match nothing, or an address that is none.
        """
        if problem := host_problem(env.get("OLLAMA_HOST", "")):
            raise CorralError(f"OLLAMA_HOST={env['OLLAMA_HOST']!r}: {problem}", hint="correct OLLAMA_HOST")
        found: dict[str, Any] = {}
        warnings = []
        for setting in SETTINGS:
            text = strip_setting(env.get(setting.name, ""))
            if not text:
                continue
            try:
                found[setting.field] = setting.read(text)
            except values.UnreadableError:
                warnings.append(f"{setting.name}={text!r} is not understood, using {setting.shown or 'none'}")
                continue
            if doubt := _doubt(setting, text):
                warnings.append(doubt)
        known = _KNOWN | {setting.name for setting in SETTINGS}
        warnings += [
            f"{name} is not a setting of this server and has no effect{_suggestion(name, known)}"
            for name in sorted(env)
            if name.startswith(("OLLAMA_", "CORRAL_")) and name not in known
        ]
        values.check_origins(found.get("origins", ()))
        return cls(**found, warnings=tuple(warnings))


def _suggestion(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # hardly ever needed

    close = get_close_matches(name, known, n=1, cutoff=0.85)
    return f"; did you mean {close[0]}?" if close else ""


def environment_of(command: str) -> list[tuple[str, str]]:
    """The variables that a command of the command line reads, with their meanings."""
    return [
        (setting.name, f"{setting.meaning} (default {setting.shown})" if setting.shown else setting.meaning)
        for setting in SETTINGS
        if command == "serve" or setting.name == "OLLAMA_HOST"
    ]


def format_settings_markdown() -> str:
    """docs/configuration.md, made of the table."""
    rows = [f"| `{s.name}` | {f'`{s.shown}`' if s.shown else ''} | {s.meaning} |" for s in SETTINGS]
    return "\n".join(
        [
            "# Configuration",
            "",
            "Every setting is an environment variable of `corral serve`. Blanks and quotes around a value do not",
            "count; durations are written like `90s`, `5m` or `1h30m`. This page is made from the table in",
            "`src/corral/config.py`. [troubleshooting.md](troubleshooting.md) explains what the log says, and what",
            "to change when something is slow or does not fit.",
            "",
            "| variable | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


assert {setting.field for setting in SETTINGS} == {f.name for f in fields(Settings)} - {"warnings"}
