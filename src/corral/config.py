"""Settings from the configuration files and the environment, read into a frozen object.

The table `SETTINGS` drives reading, `serve --help` and docs/configuration.md. A variable wins over a file. Names and
meanings are Ollama's where Ollama has the setting (ollama: envconfig/config.go); our own begin with `CORRAL_`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from corral import settingvalues as values
from corral.configfile.reading import NO_FILES, FileConfig, read_config
from corral.configfile.sections import NO_SECTIONS, Sections
from corral.errors import CorralError
from corral.hostaddress import HostAddress, host_problem, strip_setting
from corral.priorities import DEFAULT_PRIORITY, Priority
from corral.settingstable import SETTINGS, Setting
from corral.urlsecrets import without_userinfo

_SECOND_NS = 1_000_000_000
_MINUTE_NS = 60 * _SECOND_NS


def _doubt(setting: Setting, text: str) -> str:
    """The warning for a value that is accepted but probably a mistake; empty if there is none."""
    is_switch = setting.read in (values.boolean, values.maybe_boolean) and text != "auto"
    if is_switch and text not in values.TRUE + values.FALSE and text.lower() not in ("yes", "y", "on"):
        return f"{setting.name}={text!r} is read as true; write 0 for false"
    return ""


# Not in the table and yet no reason to warn: read by the command line, or always in effect.
_KNOWN = frozenset(
    {
        "OLLAMA_NOHISTORY",
        "OLLAMA_EDITOR",
        "OLLAMA_NO_CLOUD",
        "CORRAL_HOME",
        "CORRAL_CONFIG",
        "CORRAL_API_KEY",
        "CORRAL_CA_FILE",
        "CORRAL_CLIENT_CERT",
        "CORRAL_CLIENT_KEY",
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, typed. Durations in nanoseconds, zeros mean what the table says."""

    host: HostAddress = field(default_factory=lambda: HostAddress.parse(""))
    models_dir: Path = field(default_factory=lambda: Path.home() / ".ollama" / "models")
    hosts: tuple[str, ...] = ()
    socket_mode: int = 0o660
    socket_group: str = ""
    reuses_port: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    is_self_signed: bool = False
    drain_delay_ns: int = 0
    drain_timeout_ns: int = 30 * _SECOND_NS
    keep_alive_ns: int = 5 * _MINUTE_NS
    preload: tuple[str, ...] = ()
    load_timeout_ns: int = 5 * _MINUTE_NS
    context_length: int = 0
    num_parallel: int = 0
    max_loaded_models: int = 0
    max_queue: int = 512
    origins: tuple[str, ...] = ()
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"
    logs_bodies: bool = False
    log_slow_ns: int = 0
    flash_attention: bool | None = None
    kv_cache_type: str = ""
    go_template: bool | None = None
    translates: bool = True
    gpu_overhead_bytes: int = 0
    no_prune: bool = False
    llama_server: str = ""
    engine: str = ""
    engine_index: str = ""
    engine_env: tuple[str, ...] = ()
    keeps_spare: bool | None = None
    llm_library: str = ""
    library_path: str = ""
    uses_vulkan: bool = True
    counts_integrated: bool | None = None
    is_spread: bool = False
    device_policy: str = "prefer_gpu"
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
    has_metrics: bool = True
    has_vllm_metrics: bool = False
    has_key_metrics: bool = False
    metrics_listen: str = ""
    has_traces: bool = False
    has_usage: bool = True
    usage_db: Path | None = None
    usage_keep_days: int = 400
    cluster_mode: Literal["off", "peers", "ray"] = "off"
    cluster_peers: tuple[str, ...] = ()
    cluster_dns: str = ""
    cluster_name: str = ""
    cluster_key_file: Path | None = None
    cluster_ca_file: Path | None = None
    cluster_block_chars: int = 512
    cluster_max_blocks: int = 128
    cluster_affinity: float = 0.3
    cluster_imbalance_abs: int = 4
    cluster_imbalance_rel: float = 1.5
    cluster_retries: int = 2
    takes_weights_from_peers: bool = True
    wants_rpc: bool = False
    registry_mode: str = "off"
    is_pull_through: bool = False
    cloud_base_url: str = "https://ollama.com:443"
    cache_ram_mib: int | None = None
    prompt_states_mib: int | None = None
    speculation: bool | None = None
    prompt_slowdown: int = 3
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
    auth_mode: Literal["off", "remote", "on"] = "remote"
    keys_db: Path | None = None
    is_strict: bool = False
    rpm: int = 0
    tpm: int = 0
    tokens_per_day: int = 0
    max_parallel: int = 0
    max_predict: int = 0
    priority: Priority = DEFAULT_PRIORITY
    max_request_ns: int = 0
    audit: str = "auto"
    audit_keep_days: int = 90
    audits_bodies: bool = False
    is_read_only: bool = False
    is_infer_only: bool = False
    surfaces_off: frozenset[str] = frozenset()
    redirects_root: bool = True
    tool_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    has_cache_per_key: bool = False
    # Of the configuration files: what they say of models, and which were read.
    sections: Sections = NO_SECTIONS
    files: tuple[Path, ...] = ()
    # For the log: values that could not be read (the default holds), and values that look like mistakes.
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read the configuration files, and the environment over them.

        Raises:
            ConfigFileError: a file cannot be used.
            CorralError: an origin that can never match, or an invalid address.
        """
        return cls.from_env(env, read_config(env))

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, config: FileConfig = NO_FILES) -> Settings:
        """Read the settings from the environment, over what the files say.

        Raises:
            CorralError: an origin that can never match, or an invalid address.
        """
        if problem := host_problem(env.get("OLLAMA_HOST", "")):
            shown = without_userinfo(env["OLLAMA_HOST"])
            raise CorralError(f"OLLAMA_HOST={shown!r}: {problem}", hint="correct OLLAMA_HOST")
        for address in values.entries(strip_setting(env.get("CORRAL_HOSTS", ""))):
            if problem := host_problem(address):
                shown = without_userinfo(address)
                raise CorralError(f"CORRAL_HOSTS: {shown!r}: {problem}", hint="correct CORRAL_HOSTS")
        if problem := host_problem(env.get("CORRAL_METRICS_LISTEN", "")):
            raise CorralError(f"CORRAL_METRICS_LISTEN: {problem}", hint="correct CORRAL_METRICS_LISTEN")
        found: dict[str, Any] = {}
        warnings = [*config.warnings]
        for setting in SETTINGS:
            if below := config.texts.get(setting.name, ""):
                found[setting.field] = setting.read(below)
            text = strip_setting(env.get(setting.name, ""))
            if not text:
                continue
            try:
                found[setting.field] = setting.read(text)
            except values.UnreadableError:
                used = below or setting.shown or "none"
                shown = "(hidden)" if setting.is_secret else without_userinfo(text)
                warnings.append(f"{setting.name}={shown!r} is invalid, using {used}")
                continue
            if doubt := _doubt(setting, text):
                warnings.append(doubt)
        known = _KNOWN | {setting.name for setting in SETTINGS}
        warnings += [
            f"{name} is not a known setting and has no effect{_suggestion(name, known)}"
            for name in sorted(env)
            if name.startswith(("OLLAMA_", "CORRAL_")) and name not in known
        ]
        has_tls = found.get("tls_cert") is not None or found.get("is_self_signed")
        if strip_setting(env.get("OLLAMA_HOST", "")).startswith("https://") and not has_tls:
            warnings.append(
                "OLLAMA_HOST begins with https://, but the server speaks plain HTTP: set CORRAL_TLS_CERT, or put a"
                " TLS proxy in front of it"
            )
        values.check_origins(found.get("origins", ()))
        return cls(**found, sections=config.sections, files=config.paths, warnings=tuple(warnings))


def _suggestion(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # hardly ever needed

    close = get_close_matches(name, known, n=1, cutoff=0.85)
    return f"; did you mean {close[0]}?" if close else ""


def environment_of(command: str) -> list[tuple[str, str]]:
    """The variables that a CLI command reads, with their meanings."""
    return [
        (setting.name, f"{setting.meaning} (default {setting.shown})" if setting.shown else setting.meaning)
        for setting in SETTINGS
        if command == "serve" or setting.name == "OLLAMA_HOST"
    ]


_NOT_IN_THE_TABLE = {"sections", "files", "warnings"}
assert {setting.field for setting in SETTINGS} == {f.name for f in fields(Settings)} - _NOT_IN_THE_TABLE
