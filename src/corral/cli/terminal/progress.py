"""Progress on stderr: spinners and bars on a terminal, one line per change elsewhere.

The layout and the figures are Ollama's (ollama: progress/bar.go, spinner.go). On narrow terminals the lines shrink,
where Ollama's wrap.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType

from corral.cli.terminal.formatting import display_width, format_bytes
from corral.cli.terminal.screen import safe, terminal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_S = 0.1
_SAMPLES = 10
_SMALLEST_BAR = 5
# Where lines cannot be rewritten, a transfer prints one at each tenth, but not more often than this.
_LOG_STEP = 10
_LOG_EVERY_S = 5.0


class Line:
    """One line of the display: a status, or a bar once it has a total."""

    def __init__(self, text: str, now_s: float) -> None:
        self.text = safe(text).replace("\n", " ")
        self.is_done = False
        self.total_bytes = 0
        self.completed_bytes = 0
        self.resumed_bytes = 0
        self._started_s = now_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def advance(self, completed_bytes: int, total_bytes: int) -> None:
        self.completed_bytes, self.total_bytes = completed_bytes, total_bytes

    def rate(self, now_s: float) -> float:
        """Bytes per second over the last samples, taken once a second; 0 while unknown."""
        if not self._samples:
            self._samples.append((self._started_s, self.resumed_bytes))
        if now_s - self._samples[-1][0] >= 1:
            self._samples.append((now_s, self.completed_bytes))
        (start_s, start_bytes), (end_s, end_bytes) = self._samples[0], self._samples[-1]
        span_s = round(end_s - start_s)
        return max(end_bytes - start_bytes, 0) / span_s if span_s else 0.0

    def render(self, width: int, frame: str, now_s: float) -> str:
        """The line for a terminal of this width."""
        if not self.total_bytes:
            return cut(f"{self.text} " if self.is_done else f"{self.text} {frame} ", width)
        share = min(self.completed_bytes / self.total_bytes, 1.0)
        prefix = f"{self.text} {share * 100:3.0f}% "
        total = format_bytes(self.total_bytes).rjust(6)
        is_complete = self.completed_bytes >= self.total_bytes
        amount = total if is_complete else f"{format_bytes(self.completed_bytes).rjust(6)}/{total}"
        speed = "" if is_complete else self._speed(now_s)
        suffix = f" {amount.ljust(13)}{speed.ljust(18)}"
        room = width - display_width(prefix) - len(suffix) - 3
        if room < _SMALLEST_BAR:
            narrow = (
                f"{amount.strip()}{speed}",
                f"{amount.strip()}  {speed.split('/s')[-1].strip()}",
                amount.strip(),
            )
            fitting = next((text for text in narrow if display_width(prefix) + len(text) <= width), "")
            return cut(prefix + fitting, width)
        filled, resumed = int(room * share), int(room * min(self.resumed_bytes / self.total_bytes, share))
        bar = "▓" * resumed + "█" * (filled - resumed) + " " * (room - filled)
        return f"{prefix}▕{bar}▏{suffix}"

    def _speed(self, now_s: float) -> str:
        rate = self.rate(now_s)
        if rate <= 0:
            return ""
        left_s = (self.total_bytes - self.completed_bytes) / rate
        return f"  {format_bytes(int(rate)).rjust(6)}/s  {_span(left_s).rjust(6)}"


def cut(text: str, width: int) -> str:
    """The part of a line that fits into this width."""
    while display_width(text) > width:
        text = text[:-1]
    return text


def _span(seconds: float) -> str:
    if seconds >= 100 * 3600:
        return "99h+"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class Progress:
    """A display of several lines, redrawn ten times a second inside its `with` block."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._drawn_count = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._is_terminal = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._redraw, daemon=True)
        self._logged: dict[str, tuple[float, int]] = {}

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
            last = self._lines[-1] if self._lines else None
            if last is not None and (last.text == text or (replace and not last.total_bytes)):
                last.text = text
                return
            self._finish_last()
            self._lines.append(Line(text, time.monotonic()))
        if not self._is_terminal:
            _print(text)

    def share(self, text: str, completed_bytes: int, total_bytes: int) -> None:
        """Show the progress of a step: a status with a percentage, or a few lines where none can be rewritten."""
        if self._is_terminal or not total_bytes:
            percent = 100 * completed_bytes // total_bytes if total_bytes else 100
            self.status(f"{text} {percent}%", replace=completed_bytes > 0)
        else:
            self.bar(text, completed_bytes, total_bytes)

    def bar(self, text: str, completed_bytes: int, total_bytes: int, resumed_bytes: int = 0) -> None:
        """Show the progress of a transfer, one bar per text. `resumed_bytes` were present before it began."""
        now_s = time.monotonic()
        with self._lock:
            line = next((line for line in self._lines if line.text == text), None)
            if line is None:
                self._finish_last()
                line = Line(text, now_s)
                self._lines.append(line)
            line.resumed_bytes = max(line.resumed_bytes, resumed_bytes)
            line.advance(completed_bytes, total_bytes)
            line.is_done = completed_bytes >= total_bytes
        if not self._is_terminal:
            self._log(line, now_s)

    def _log(self, line: Line, now_s: float) -> None:
        """Print a line at the beginning, at the end, and at some tenths between, where no bar can be drawn."""
        percent = 100 * line.completed_bytes // line.total_bytes
        seen = self._logged.get(line.text)
        if seen is not None:
            logged_s, logged_percent = seen
            is_step = percent // _LOG_STEP > logged_percent // _LOG_STEP and now_s - logged_s >= _LOG_EVERY_S
            if not is_step and not (line.is_done and logged_percent < 100):
                return
        self._logged[line.text] = (now_s, percent)
        total = format_bytes(line.total_bytes)
        if line.is_done:
            _print(f"{line.text} {total}")
        elif seen is None and line.resumed_bytes:
            _print(f"{line.text} resuming at {format_bytes(line.resumed_bytes)} of {total}")
        else:
            _print(f"{line.text} {percent}% of {total}{line._speed(now_s)}")

    def _finish_last(self) -> None:
        if self._lines:
            self._lines[-1].is_done = True

    def _redraw(self) -> None:
        while not self._stopped.wait(FRAME_S):
            self._draw()

    def _draw(self) -> None:
        width, height = terminal_size(sys.stderr)
        now_s = time.monotonic()
        frame = FRAMES[int(now_s / FRAME_S) % len(FRAMES)]
        with self._lock:
            lines = [line.render(width, frame, now_s) for line in self._lines[-height + 1 :]]
        up = f"\x1b[{self._drawn_count}A" if self._drawn_count else ""
        body = "".join(f"\x1b[1G\x1b[K{line}\n" for line in lines)
        sys.stderr.write(f"\x1b[?2026h\x1b[?25l{up}{body}\x1b[?25h\x1b[?2026l")
        sys.stderr.flush()
        self._drawn_count = len(lines)


def _print(text: str) -> None:
    print(safe(text), file=sys.stderr, flush=True)


def show_events(progress: Progress, events: Iterable[dict[str, Any]]) -> None:
    """Show the status objects of a pull, push or create stream.

    A server that resumes a partial download may report in `resumed` how much of it was present.
    """
    for event in events:
        status, digest = event.get("status", ""), event.get("digest", "")
        if digest and event.get("total"):
            if event.get("completed"):
                text = f"{status}:" if status.startswith("pulling ") else status
                progress.bar(text, event["completed"], event["total"], event.get("resumed", 0))
        elif status:
            progress.status(status)
