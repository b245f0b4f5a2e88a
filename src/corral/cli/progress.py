"""Progress on stderr: spinners and bars on a terminal, one line for each change anywhere else."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from corral.cli.human import format_bytes

__all__ = ["Progress", "show_events"]

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.1
_SAMPLES = 10


class _Entry:
    """One line of the display: a status, or a bar once it has a total."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_done = False
        self.total_bytes = 0
        self.completed_bytes = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def advance(self, completed_bytes: int, total_bytes: int) -> None:
        self.completed_bytes, self.total_bytes = completed_bytes, total_bytes
        now_s = time.monotonic()
        if not self._samples or now_s - self._samples[-1][0] >= 1:
            self._samples.append((now_s, completed_bytes))

    @property
    def rate(self) -> float:
        """Bytes a second over the last samples; 0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (start_s, start_bytes), (end_s, end_bytes) = self._samples[0], self._samples[-1]
        return (end_bytes - start_bytes) / max(end_s - start_s, 1e-9)

    def line(self, width: int, frame: str) -> str:
        if not self.total_bytes:
            return f"{self.text} " if self.is_done else f"{self.text} {frame} "
        share = self.completed_bytes / self.total_bytes
        prefix = f"{self.text} {share * 100:3.0f}% "
        total = format_bytes(self.total_bytes).rjust(6)
        if self.completed_bytes >= self.total_bytes:
            suffix = f" {total}" + " " * 25
        else:
            suffix = f" {format_bytes(self.completed_bytes).rjust(6)}/{total}" + self._speed()
        room = max(width - len(prefix) - len(suffix) - 5, 0)
        filled = int(room * share)
        return f"{prefix}▕{'█' * filled}{' ' * (room - filled)}▏{suffix}"

    def _speed(self) -> str:
        if self.rate <= 0:
            return " " * 18
        left_s = (self.total_bytes - self.completed_bytes) / self.rate
        return f"  {format_bytes(int(self.rate)).rjust(6)}/s  {_span(left_s).rjust(6)}"


def _span(seconds: float) -> str:
    if seconds >= 100 * 3600:
        return "99h+"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class Progress:
    """A display of several lines, redrawn ten times a second while it is entered."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._drawn_count = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._is_terminal = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._redraw, daemon=True)

    def __enter__(self) -> Progress:
        if self._is_terminal:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._is_terminal:
            self._thread.join()
            self._finish_last()
            self._draw()

    def status(self, text: str, *, replace: bool = False) -> None:
        """Show a step; `replace` rewrites the current line where lines can be rewritten."""
        with self._lock:
            last = self._entries[-1] if self._entries else None
            if last is not None and (last.text == text or (replace and not last.total_bytes)):
                last.text = text
                return
            self._finish_last()
            self._entries.append(_Entry(text))
        if not self._is_terminal:
            print(text, file=sys.stderr, flush=True)

    def bar(self, text: str, completed_bytes: int, total_bytes: int) -> None:
        """Show how far a transfer is; one bar for each text."""
        with self._lock:
            entry = next((entry for entry in self._entries if entry.text == text), None)
            if entry is None:
                self._finish_last()
                entry = _Entry(text)
                self._entries.append(entry)
            was_done = entry.is_done
            entry.advance(completed_bytes, total_bytes)
            entry.is_done = completed_bytes >= total_bytes
        if entry.is_done and not was_done and not self._is_terminal:
            print(f"{text} {format_bytes(total_bytes)}", file=sys.stderr, flush=True)

    def _finish_last(self) -> None:
        if self._entries:
            self._entries[-1].is_done = True

    def _redraw(self) -> None:
        while not self._stopped.wait(_FRAME_S):
            self._draw()

    def _draw(self) -> None:
        width, height = shutil.get_terminal_size()
        frame = _FRAMES[int(time.monotonic() / _FRAME_S) % len(_FRAMES)]
        with self._lock:
            lines = [entry.line(width, frame)[:width] for entry in self._entries[-height + 1 :]]
        up = f"\x1b[{self._drawn_count}A" if self._drawn_count else ""
        body = "".join(f"\x1b[1G\x1b[K{line}\n" for line in lines)
        sys.stderr.write(f"\x1b[?2026h\x1b[?25l{up}{body}\x1b[?25h\x1b[?2026l")
        sys.stderr.flush()
        self._drawn_count = len(lines)


def show_events(progress: Progress, events: Iterable[dict[str, Any]]) -> None:
    """Show the status objects of a pull, push or create stream."""
    for event in events:
        status, digest = event.get("status", ""), event.get("digest", "")
        if digest and event.get("total"):
            if event.get("completed"):
                text = f"{status}:" if status.startswith("pulling ") else status
                progress.bar(text, event["completed"], event["total"])
        elif status:
            progress.status(status)
