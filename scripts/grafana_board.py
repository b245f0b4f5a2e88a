"""Writes deploy/grafana/corral.json, the Grafana board of Corral's metrics: `python -m scripts.grafana_board`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOARD = Path(__file__).parent.parent / "deploy" / "grafana" / "corral.json"
_WIDTH, _HEIGHT = 24, 8
# A model that was not loaded for longer has no line meanwhile.
_LONGEST_GAP_MS = 60_000
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The variables at the top of the board choose servers and models.
_CHOSEN = 'instance=~"$instance", model=~"$model"'
_SERVER = 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries` are pairs of an expression and the legend of its series. `unit` is Grafana's word for it."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    is_stacked: bool = False
    description: str = ""


def _quantile(share: float, metric: str, labels: str = "model") -> str:
    rate = f"rate({metric}_bucket{{{_CHOSEN}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, {labels}) ({rate}))"


def _rate(metric: str, labels: str, chosen: str = _CHOSEN) -> str:
    return f"sum by ({labels}) (rate({metric}{{{chosen}}}[$__rate_interval]))"


def _increase(metric: str, labels: str, chosen: str = _CHOSEN) -> str:
    return f"sum by ({labels}) (increase({metric}{{{chosen}}}[$__rate_interval]))"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "What users wait for",
        (
            Panel(
                "First token",
                "s",
                (
                    (_quantile(0.5, "corral_time_to_first_token_seconds"), "{{model}} half"),
                    (_quantile(0.95, "corral_time_to_first_token_seconds"), "{{model}} 95 %"),
                ),
            ),
            Panel(
                "Between tokens",
                "s",
                (
                    (_quantile(0.5, "corral_inter_token_seconds"), "{{model}} half"),
                    (_quantile(0.99, "corral_inter_token_seconds"), "{{model}} 99 %"),
                ),
            ),
            Panel(
                "Waiting for a slot or a model",
                "s",
                ((_quantile(0.95, "corral_queue_seconds"), "{{model}} 95 %"),),
            ),
        ),
    ),
    (
        "Work",
        (
            Panel(
                "Requests by status",
                "reqps",
                ((_rate("corral_requests_total", "status", _SERVER), "{{status}}"),),
                is_stacked=True,
            ),
            Panel(
                "Tokens of replies a second",
                "short",
                ((_rate("corral_generated_tokens_total", "model"), "{{model}}"),),
            ),
            Panel(
                "Tokens of prompts a second",
                "short",
                (
                    (
                        f"{_rate('corral_prompt_tokens_total', 'model')} - "
                        f"{_rate('corral_cached_prompt_tokens_total', 'model')}",
                        "{{model}} computed",
                    ),
                    (_rate("corral_cached_prompt_tokens_total", "model"), "{{model}} cached"),
                ),
                is_stacked=True,
            ),
        ),
    ),
    (
        "What is computed",
        (
            Panel(
                "Prompts from the cache",
                "percentunit",
                (
                    (
                        f"{_rate('corral_cached_prompt_tokens_total', 'model')} / "
                        f"{_rate('corral_prompt_tokens_total', 'model')}",
                        "{{model}}",
                    ),
                ),
                description="The share of prompt tokens that had been computed before.",
            ),
            Panel(
                "Context in use",
                "percentunit",
                ((f"max by (model) (corral_kv_usage_ratio{{{_CHOSEN}}})", "{{model}}"),),
                description="The share of the context of all slots that running requests hold.",
            ),
            Panel(
                "Guessed tokens that were right",
                "percentunit",
                (
                    (
                        f"{_rate('corral_accepted_tokens_total', 'model')} / "
                        f"{_rate('corral_drafted_tokens_total', 'model')}",
                        "{{model}}",
                    ),
                ),
                description="Of the tokens that were guessed ahead.",
            ),
        ),
    ),
    (
        "Models",
        (
            Panel(
                "Requests running and waiting",
                "short",
                (
                    (f"sum by (model) (corral_requests_running{{{_CHOSEN}}})", "{{model}} running"),
                    (f"sum by (model) (corral_requests_waiting{{{_CHOSEN}}})", "{{model}} waiting"),
                ),
            ),
            Panel(
                "Memory",
                "bytes",
                ((f"sum by (model, kind) (corral_model_memory_bytes{{{_CHOSEN}}}) > 0", "{{model}} {{kind}}"),),
                is_stacked=True,
            ),
            Panel(
                "Loads and unloads",
                "short",
                (
                    (_increase("corral_model_loads_total", "reason"), "load: {{reason}}"),
                    (_increase("corral_evictions_total", "reason"), "unload: {{reason}}"),
                    (_increase("corral_engine_restarts_total", "reason"), "engine ended: {{reason}}"),
                ),
            ),
        ),
    ),
    (
        "The server",
        (
            Panel(
                "Errors",
                "reqps",
                (
                    (_rate("corral_requests_total", "reason", f'{_SERVER}, status=~"[45].."'), "{{reason}}"),
                ),
            ),
            Panel(
                "Processor cores of the server",
                "short",
                ((f"rate(process_cpu_seconds_total{{{_SERVER}}}[$__rate_interval])", "{{instance}}"),),
                description="Without the engines.",
            ),
            Panel(
                "The event loop is late by",
                "s",
                ((f"corral_event_loop_lag_seconds{{{_SERVER}}}", "{{instance}}"),),
                description="What a request may wait before anything is done for it.",
            ),
            Panel(
                "Memory of the server",
                "bytes",
                ((f"process_resident_memory_bytes{{{_SERVER}}}", "{{instance}}"),),
                description="Without the engines; theirs is above.",
            ),
        ),
    ),
    (
        "The cluster",
        (
            Panel(
                "Requests by the node that gets them",
                "reqps",
                ((_rate("corral_cluster_requests_total", "node, why", _SERVER), "{{node}}: {{why}}"),),
                is_stacked=True,
                description="Only of servers that are one of a cluster, as all of this row.",
            ),
            Panel(
                "Further attempts",
                "reqps",
                ((_rate("corral_cluster_retries_total", "node, reason", _SERVER), "{{node}}: {{reason}}"),),
            ),
            Panel(
                "Weights from other nodes",
                "Bps",
                ((_rate("corral_cluster_weights_bytes_total", "instance", _SERVER), "{{instance}}"),),
            ),
            Panel(
                "Weights that did not come",
                "short",
                (
                    (_increase("corral_cluster_weights_failures_total", "reason", _SERVER), "{{reason}}"),
                    (_increase("corral_cluster_weights_waits_total", "instance", _SERVER), "{{instance}} waited"),
                ),
            ),
        ),
    ),
    (
        "The models folder",
        (
            Panel(
                "Space",
                "bytes",
                (
                    (f"corral_store_bytes{{{_SERVER}}}", "{{instance}} used"),
                    (f"corral_store_free_bytes{{{_SERVER}}}", "{{instance}} free"),
                ),
            ),
            Panel("Download", "Bps", ((_rate("corral_pull_bytes_total", "instance", _SERVER), "{{instance}}"),)),
            Panel(
                "Pulls and pushes",
                "short",
                (
                    (_increase("corral_pulls_total", "result", _SERVER), "pull: {{result}}"),
                    (_increase("corral_pushes_total", "result", _SERVER), "push: {{result}}"),
                    (_increase("corral_pull_retries_total", "instance", _SERVER), "attempts again"),
                ),
            ),
        ),
    ),
)  # fmt: skip


def board() -> dict[str, Any]:
    """The board as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
             "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1}}
        )  # fmt: skip
        width = _WIDTH // len(row)
        for i, panel in enumerate(row):
            place = {"x": i * width, "y": top + 1, "w": width, "h": _HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, place))
        top += 1 + _HEIGHT
    return {
        "title": "Corral",
        "uid": "corral",
        "tags": ["corral", "llm"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), _variable("instance"), _variable("model")]},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": _LONGEST_GAP_MS}
    if panel.is_stacked:
        custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(label: str) -> dict[str, Any]:
    metric = "corral_build_info" if label == "instance" else "corral_model_loads_total"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": label},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def main() -> None:
    BOARD.parent.mkdir(parents=True, exist_ok=True)
    BOARD.write_text(json.dumps(board(), indent=1) + "\n")


if __name__ == "__main__":
    main()
