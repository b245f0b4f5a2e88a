"""`ps --watch`: loaded models and who uses them or waits, again and again."""

from __future__ import annotations

import sys
import time

from corral.cli.http.client import APIError, Client
from corral.cli.terminal.screen import is_terminal
from corral.cli.terminal.tables import screen_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_EVERY_S = 1.0
# To the top left corner, and without what stood there.
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_STATES = {"queued": "waits for the model", "slot": "waits for a slot", "running": "runs"}


def watch(client: Client, table: Callable[[], str]) -> None:
    """Print until Ctrl-C. Not on a terminal, one picture after the other with a blank line between."""
    is_screen = is_terminal(sys.stdout)
    before: dict[str, tuple[float, int]] = {}
    while True:
        text = f"{table()}\n{queue_table(_queue(client), before, time.monotonic())}"
        if is_screen:
            text = _HOME + text.replace("\n", f"{_REST_OF_LINE}\n") + _REST_OF_SCREEN
        sys.stdout.write(text if is_screen else f"{text}\n")
        sys.stdout.flush()
        time.sleep(_EVERY_S)


def _queue(client: Client) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = client.call("GET", "/api/queue")["queue"] or []
        return found
    except APIError:
        return []  # Ollama does not have the route


def queue_table(entries: list[dict[str, Any]], before: dict[str, tuple[float, int]], now_s: float) -> str:
    """Requests with what they do. `before`: time and tokens at the last look, by request; it is updated."""
    rows = []
    seen = {}
    for entry in sorted(entries, key=lambda entry: int(entry.get("position", 0))):
        number, tokens = str(entry.get("id", "")), int(entry.get("tokens", 0))
        then_s, count = before.get(number, (now_s, tokens))
        seen[number] = (now_s, tokens)
        rate = f"{(tokens - count) / (now_s - then_s):.1f}" if now_s > then_s else ""
        state = _STATES.get(str(entry.get("state", "")), "")
        if position := entry.get("position"):
            state = f"{state}, {position}."
        eta = entry.get("eta_ms") if position else None
        rows.append(
            (
                number,
                str(entry.get("model", "")),
                state,
                f"{entry.get('waited_ms', 0) / 1000:.1f} s",
                "" if eta is None else f"{eta / 1000:.1f} s",
                str(tokens),
                rate,
            )
        )
    before.clear()
    before.update(seen)
    header = ("REQUEST", "MODEL", "STATE", "WAITED", "EXPECTED", "TOKENS", "TOKENS/S")
    return screen_table(rows, header=header, dispensable=("EXPECTED", "WAITED", "REQUEST"))
