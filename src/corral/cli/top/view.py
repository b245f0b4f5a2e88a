"""The frame of a look: lines of text with their styles, for any size of a screen."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from corral.cli.models.listing import processor_of
from corral.cli.terminal.formatting import display_width, format_age, format_bytes, parse_time
from corral.cli.top.cells import Column, fit, plain, table
from corral.cli.top.figures import Look

Style = Literal["", "bold", "dim", "heading", "chosen", "alarm", "busy"]
_STATES = {"queued": "queued", "slot": "waits", "running": "runs"}
_MODELS = (
    Column("MODEL", 9, is_cut=True),
    Column("MEMORY", 5, is_number=True),
    Column("PROCESSOR", 2),
    Column("SLOTS", 6, is_number=True),
    Column("WAIT", 7, is_number=True),
    Column("TOK/S", 8, is_number=True),
    Column("CONTEXT", 1, is_number=True),
    Column("UNTIL", 3),
)
_REQUESTS = (
    Column("REQUEST", 9, is_cut=True),
    Column("MODEL", 5, is_cut=True),
    Column("STATE", 8),
    Column("WAITED", 4, is_number=True),
    Column("EXPECTED", 3, is_number=True),
    Column("TOKENS", 6, is_number=True),
    Column("TOK/S", 7, is_number=True),
    Column("PATH", 1),
    Column("KEY", 2),
    Column("CLASS", 3),
)
_RECENT = (
    Column("RECENT", 9, is_cut=True),
    Column("MODEL", 5, is_cut=True),
    Column("STATUS", 8, is_cut=True),
    Column("AT", 3),
    Column("TIME", 7, is_number=True),
    Column("PROMPT", 2, is_number=True),
    Column("TOKENS", 6, is_number=True),
    Column("TOK/S", 4, is_number=True),
    Column("PATH", 1),
)
_BAR_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Line:
    """`key` is what the line stands for: a model or a request that can be chosen."""

    text: str
    style: Style = ""
    key: tuple[str, str] | None = None


def choices(look: Look) -> list[tuple[str, str]]:
    """What can be chosen, in the order of the frame."""
    models = [("model", str(model["name"])) for model in look.answer["models"]]
    return [*models, *(("request", str(request["id"])) for request in look.answer["requests"])]


def frame(look: Look, width: int, *, address: str = "", now: datetime.datetime | None = None) -> list[Line]:
    """Everything, as many lines as it takes; none is wider than `width`."""
    now = now or datetime.datetime.now(datetime.UTC)
    answer = look.answer
    models, requests, recent = answer["models"], answer["requests"], answer["recent"]
    return [
        Line(_title(answer, address, now, width), "bold"),
        *(Line(fit(text, width)) for text in _memory(answer["memory"], width)),
        Line(""),
        *_section(
            _MODELS, [_model_row(look, model, now) for model in models], width, "model", models, "name"
        ),
        Line(""),
        *_section(
            _REQUESTS, [_request_row(look, each) for each in requests], width, "request", requests, "id"
        ),
        Line(""),
        *_section(_RECENT, [_recent_row(each) for each in recent], width, "", recent, "id"),
    ]


def _title(answer: dict[str, Any], address: str, now: datetime.datetime, width: int) -> str:
    started = parse_time(str(answer["started_at"]))
    age = f"up {_span((now - started).total_seconds())}" if started else ""
    total = sum(int(model.get("running", 0)) for model in answer["models"])
    waiting = sum(int(model.get("waiting", 0)) for model in answer["models"])
    parts = [
        f"corral {plain(str(answer['version']))}",
        address,
        age,
        f"{total} running",
        f"{waiting} waiting",
    ]
    while len(parts) > 2 and display_width("  ".join(parts)) > width:
        parts.pop(1)
    return fit("  ".join(part for part in parts if part), width)


def _memory(memory: dict[str, Any], width: int) -> list[str]:
    places = [("RAM", memory), *((device["name"], device) for device in memory["devices"])]
    label = max(display_width(plain(str(name))) for name, _ in places)
    return [_gauge(plain(str(name)).ljust(label), place, width) for name, place in places if place["total"]]


def _gauge(label: str, place: dict[str, Any], width: int) -> str:
    total, free = int(place["total"]), int(place["free"])
    share = min(max((total - free) / total, 0.0), 1.0)
    figures = f"{format_bytes(total - free)} of {format_bytes(total)} used"
    size = min(_BAR_WIDTH, width - len(label) - len(figures) - 4)
    if size < 5:
        return f"{label} {figures}"
    full = round(share * size)
    return f"{label} [{'#' * full}{'-' * (size - full)}] {figures}"


def _section(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int,
    kind: str,
    entries: Sequence[dict[str, Any]],
    name: str,
) -> list[Line]:
    heading, *lines = table(columns, rows, width - 2)
    found = [Line(fit(f"  {heading}", width), "heading")]
    for text, entry in zip(lines, entries, strict=True):
        key = (kind, str(entry[name])) if kind else None
        found.append(Line(fit(f"  {text}", width), _style_of(entry), key))
    if not entries:
        found.append(Line(fit("  -", width), "dim"))
    return found


def _style_of(entry: dict[str, Any]) -> Style:
    if entry.get("status", 200) >= 400:
        return "alarm"
    if entry.get("running") or entry.get("state") == "running":
        return "busy"
    return ""


def _model_row(look: Look, model: dict[str, Any], now: datetime.datetime) -> tuple[str, ...]:
    name, waiting = str(model["name"]), str(model.get("waiting", 0))
    if model["state"] == "loading":
        return name, "", f"loading {model.get('progress', 0):.0%}", "", waiting, "", "", ""
    until = "stopping" if model["state"] == "stopping" else _until(str(model["expires_at"]), now)
    return (
        name,
        format_bytes(model["size"]),
        processor_of(model["size"], model["size_vram"]),
        f"{model['running']}/{model['slots']}",
        waiting,
        f"{look.rate('model', name):.1f}",
        str(model["context_length"]),
        until,
    )


def _until(text: str, now: datetime.datetime) -> str:
    return format_age(parse_time(text), now).removesuffix(" from now")


def _request_row(look: Look, request: dict[str, Any]) -> tuple[str, ...]:
    position, eta_ms = request.get("position", 0), request.get("eta_ms")
    state = _STATES.get(str(request["state"]), str(request["state"]))
    tokens = int(request.get("tokens", 0))
    return (
        str(request["id"]),
        str(request["model"]),
        f"{state} #{position}" if position else state,
        f"{request.get('waited_ms', 0) / 1000:.1f} s",
        "" if eta_ms is None else f"{eta_ms / 1000:.1f} s",
        str(tokens) if tokens else "",
        f"{look.rate('request', str(request['id'])):.1f}" if tokens else "",
        str(request.get("path", "")),
        str(request.get("key", "")),
        str(request.get("priority", "")),
    )


def _recent_row(request: dict[str, Any]) -> tuple[str, ...]:
    rate = request.get("tokens_per_s")
    error = str(request.get("error", ""))
    return (
        str(request["id"]),
        str(request.get("model", "")),
        f"{request['status']} {error}".rstrip(),
        str(request["ended_at"])[11:19],
        f"{request['ms'] / 1000:.2f} s",
        str(request["prompt_tokens"]),
        str(request["tokens"]),
        "" if rate is None else f"{rate:.1f}",
        str(request.get("path", "")),
    )


def _span(seconds: float) -> str:
    minutes, hours = int(max(seconds, 0)) // 60, int(max(seconds, 0)) // 3600
    if hours >= 48:
        return f"{hours // 24} d"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"
