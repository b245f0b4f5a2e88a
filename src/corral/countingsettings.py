"""The settings of what is counted, a part of the table in settingstable.py."""

from __future__ import annotations

from pathlib import Path

from corral import settingvalues as values
from corral.setting import Setting

COUNTING_SETTINGS: tuple[Setting, ...] = (
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
        "CORRAL_METRICS_KEYS",
        "metrics.keys",
        "has_key_metrics",
        values.boolean,
        "",
        "Count tokens by API key too, with its id as a label",
    ),
    Setting(
        "CORRAL_METRICS_LISTEN",
        "metrics.listen",
        "metrics_listen",
        str,
        "",
        "An address for /metrics alone, as in `127.0.0.1:9464`; then it is not served elsewhere",
    ),
    Setting(
        "CORRAL_TRACES",
        "traces.enabled",
        "has_traces",
        values.boolean,
        "",
        "Trace requests with OpenTelemetry; needs corral[otel], and OTEL_* variables say where spans go",
    ),
    Setting(
        "CORRAL_USAGE",
        "usage.enabled",
        "has_usage",
        values.boolean,
        "1",
        "Record requests and tokens by day, API key and model, for `corral usage` (0: off)",
    ),
    Setting(
        "CORRAL_USAGE_DB",
        "usage.database",
        "usage_db",
        Path,
        "~/.corral/usage.sqlite3",
        "Database of what was used, on a local disk",
    ),
    Setting(
        "CORRAL_USAGE_KEEP_DAYS",
        "usage.keep_days",
        "usage_keep_days",
        values.number,
        "400",
        "How many days of it are kept (0: all)",
    ),
)
