"""A spinner on stderr until a response begins, with the progress of a load."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from corral.cli.http.client import APIError, Client, NoServerError
from corral.cli.terminal.formatting import display_width
from corral.cli.terminal.progress import FRAME_S, FRAMES, cut
from corral.cli.terminal.screen import safe, terminal_size

_ASK_EVERY_S = 0.3
_ERASE = "\x1b[1G\x1b[K"


class Spinner:
    """Drawn inside its `with` block or until `stop`; only if stderr is a terminal.

    The progress of a load is polled from the server (`GET /api/loading`); a server without this route, like Ollama,
    is asked once.
    """

    def __init__(self, client: Client | None = None, model: str = "") -> None:
        self._client = client
        self._model = model
        self._lock = threading.Lock()
        self._is_on = sys.stderr.isatty()
        self._is_drawn = False

    def __enter__(self) -> Spinner:
        if self._is_on:
            threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Erase it; nothing is drawn afterwards. The thread ends after a request that may be under way."""
        with self._lock:
            self._is_on = False
            if self._is_drawn:
                sys.stderr.write(_ERASE)
                sys.stderr.flush()
                self._is_drawn = False

    def _run(self) -> None:
        label, asked_s = "", time.monotonic()
        while True:
            time.sleep(FRAME_S)
            now_s = time.monotonic()
            if self._client is not None and now_s - asked_s >= _ASK_EVERY_S:
                label = self._load_label()
                asked_s = time.monotonic()
            frame = FRAMES[int(now_s / FRAME_S) % len(FRAMES)]
            with self._lock:
                if not self._is_on:
                    return
                # A line that wraps would not be erased, so it must fit.
                line = cut(f"{frame} {label}", terminal_size(sys.stderr)[0] - 1)
                sys.stderr.write(f"\x1b[?25l{_ERASE}{line}\x1b[?25h")
                sys.stderr.flush()
                self._is_drawn = True

    def _load_label(self) -> str:
        assert self._client is not None
        try:
            loading = self._client.call("GET", "/api/loading")["loading"]
            share = _share_of(loading, self._model)
        except (APIError, NoServerError, LookupError, TypeError, ValueError):
            self._client = None
            return ""
        return "" if share is None else _fitting(self._model, f"{share:.0%}")


def _fitting(model: str, share: str) -> str:
    """The model and its progress in one line of the screen; the name is dropped if it does not fit."""
    room = terminal_size(sys.stderr)[0] - len("⠋ ") - 2
    full, short = f"loading {model} {share} ", f"loading {share} "
    return next((text for text in (safe(full), short) if display_width(text) <= room), share)


def _share_of(loading: list[dict[str, float | str]], model: str) -> float | None:
    """The progress of a model by name; that of another model if it is the only load (names may share weights)."""
    for entry in loading:
        name = str(entry["name"])
        if model in (name, name.removesuffix(":latest")):
            return float(entry["progress"])
    return float(loading[0]["progress"]) if len(loading) == 1 else None
