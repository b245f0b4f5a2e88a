"""`events`: what the scheduler of the server decided, and why."""

from __future__ import annotations

import json
import sys
from contextlib import closing

from corral.cli.frame.flags import Arguments
from corral.cli.http.client import Client
from corral.cli.terminal.formatting import format_bytes
from corral.cli.terminal.screen import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Members with a place of their own in a line.
_PLACED = frozenset({"id", "at", "event", "model", "reason", "for", "error", "cause"})


def events(client: Client, arguments: Arguments) -> None:
    """The kept events, then with `--follow` those that come. The server must be Corral."""
    prefix = arguments.words[0] if arguments.words else ""
    is_json = arguments.has("json")
    if arguments.has("follow"):
        with closing(client.follow("/api/events")) as stream:
            _print(stream, prefix, is_json=is_json)
    else:
        _print(
            client.call("GET", "/api/events", accept="application/json")["events"], prefix, is_json=is_json
        )


def _print(found: Iterable[dict[str, Any]], prefix: str, *, is_json: bool) -> None:
    for event in found:
        if str(event.get("model", "")).startswith(prefix):
            print(json.dumps(event) if is_json else safe(line_of(event)))
            sys.stdout.flush()  # whoever follows reads a pipe


def line_of(event: dict[str, Any]) -> str:
    """An event as a line: time, model, what happened and why, then the other members."""
    moment = str(event.get("at", ""))[11:19]
    why = str(event.get("reason") or event.get("for") or event.get("error") or "")
    words = " ".join(f"{name}={_shown(name, value)}" for name, value in event.items() if name not in _PLACED)
    head = f"{moment}  {event.get('model', '')}  {event.get('event', '')}"
    return "  ".join(part for part in (f"{head}: {why}" if why else head, words) if part)


def _shown(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return format_bytes(value).replace(" ", "")
    return f"{value:.2f}" if isinstance(value, float) else str(value)
