"""The settings of who may use the server, a part of the table in settingstable.py."""

from __future__ import annotations

from pathlib import Path

from corral import settingvalues as values
from corral.setting import Setting

ACCESS_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "CORRAL_AUTH",
        "auth.mode",
        "auth_mode",
        values.auth_mode,
        "remote",
        "Who needs an API key: `remote` other machines, once there is a key; `on` everybody; `off` nobody",
    ),
    Setting(
        "CORRAL_KEYS",
        "auth.database",
        "keys_db",
        Path,
        "~/.corral/corral.sqlite3",
        "Database of API keys, on a local disk",
    ),
    Setting(
        "CORRAL_STRICT",
        "auth.strict",
        "is_strict",
        values.boolean,
        "false",
        "Refuse to start if other machines could use the server without a key",
    ),
    Setting(
        "CORRAL_RPM",
        "limits.rpm",
        "rpm",
        values.number,
        "0",
        "Requests in any minute from an address, for callers without a key (0: no limit)",
    ),
    Setting("CORRAL_TPM", "limits.tpm", "tpm", values.number, "0", "Tokens in any minute, likewise"),
    Setting(
        "CORRAL_TOKENS_PER_DAY",
        "limits.tokens_per_day",
        "tokens_per_day",
        values.number,
        "0",
        "Tokens in a day (UTC), likewise",
    ),
    Setting(
        "CORRAL_MAX_PARALLEL",
        "limits.max_parallel",
        "max_parallel",
        values.number,
        "0",
        "Requests at a time, likewise",
    ),
    Setting(
        "CORRAL_MAX_PREDICT",
        "limits.max_predict",
        "max_predict",
        values.number,
        "0",
        "Tokens of an answer, likewise",
    ),
    Setting(
        "CORRAL_PRIORITY",
        "limits.priority",
        "priority",
        values.priority,
        "normal",
        "Class of requests without a key, where some have to wait: `interactive`, `normal` or `batch`",
    ),
    Setting(
        "CORRAL_MAX_REQUEST_TIME",
        "limits.max_request",
        "max_request_ns",
        values.duration,
        "0",
        "How long a request for inference may take, with its waiting and loading; then its answer ends (0: any time)",
    ),
    Setting(
        "CORRAL_AUDIT",
        "audit.path",
        "audit",
        str,
        "auto",
        "Folder for the log of who changed what, or `off` (auto: `~/.corral/audit`, once there is an API key)",
    ),
    Setting(
        "CORRAL_AUDIT_KEEP_DAYS",
        "audit.keep_days",
        "audit_keep_days",
        values.number,
        "90",
        "How many days of them are kept (0: all)",
    ),
    Setting(
        "CORRAL_AUDIT_BODIES",
        "audit.bodies",
        "audits_bodies",
        values.boolean,
        "false",
        "Write the bodies of these requests too, up to 4000 characters and without secrets",
    ),
    Setting(
        "CORRAL_READ_ONLY",
        "server.read_only",
        "is_read_only",
        values.boolean,
        "false",
        "Refuse everything that changes models: pull, push, create, copy, delete, uploads",
    ),
    Setting(
        "CORRAL_INFER_ONLY",
        "server.infer_only",
        "is_infer_only",
        values.boolean,
        "false",
        "Refuse everything but inference: no lists and details either",
    ),
    Setting(
        "CORRAL_SURFACES_OFF",
        "server.surfaces_off",
        "surfaces_off",
        values.surfaces,
        "",
        "APIs that are not served: `openai`, `responses`, `anthropic`, `systemone` (`v1`: all four), `registry` "
        "(`v2`), `docs`, `keys`, `ui` (the web page)",
    ),
    Setting(
        "CORRAL_TRUSTED_PROXIES",
        "auth.trusted_proxies",
        "trusted_proxies",
        values.entries,
        "",
        "Proxies whose `X-Forwarded-For`, `-Host`, `-Proto` and `Forwarded` hold: addresses, networks, `unix`",
    ),
    Setting(
        "CORRAL_CACHE_PER_KEY",
        "auth.cache_per_key",
        "has_cache_per_key",
        values.boolean,
        "false",
        "Never let a key's prompts be computed faster because of another key's: callers share no prompt cache",
    ),
)
