"""The whole terminal for a while: its alternate screen, keys without Enter, and everything as before at the end."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from corral.cli.terminal.screen import has_colors, terminal_size
from corral.cli.top.view import Line, Style

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _PLAIN = "\x1b[H", "\x1b[K", "\x1b[0m"
_COLORS: dict[Style, str] = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "heading": "\x1b[36m",
    "chosen": "\x1b[7m",
    "alarm": "\x1b[31m",
    "busy": "\x1b[32m",
}
# What a terminal sends for one key: an escape sequence, or a character.
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b|.", re.DOTALL)
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up", "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b[H": "home", "\x1b[F": "end", "\t": "next", "\x1b": "escape",
    "\x1b[Z": "back", "\r": "enter", "\n": "enter", "\x03": "q",
}  # fmt: skip


class FullScreen:
    """Use it as a context manager. `wake` may be called from any thread and from signal handlers."""

    def __init__(self) -> None:
        self._has_keys = sys.stdin is not None and sys.stdin.isatty()
        self._has_colors = has_colors(sys.stdout)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._before: list[Any] = []
        self._drawn: list[str] = []

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Take the terminal, and give it back whatever happens."""
        signals = {signal.SIGWINCH: self._resize, signal.SIGTSTP: self._suspend}
        olds = {number: signal.signal(number, handler) for number, handler in signals.items()}
        self._take()
        try:
            yield
        finally:
            self._give_back()
            for number, old in olds.items():
                signal.signal(number, old)
            os.close(self._reader)
            os.close(self._writer)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return terminal_size(sys.stdout)

    def wake(self) -> None:
        """Let `wait` return."""
        with suppress(OSError):  # it is full: somebody has done it already
            os.write(self._writer, b"!")

    def wait(self, timeout_s: float) -> list[str]:
        """Keys by their names, as soon as there are some; none if something else has happened, or nothing."""
        sources = [self._reader, *([sys.stdin.fileno()] if self._has_keys else [])]
        ready, _, _ = select.select(sources, [], [], timeout_s)
        if self._reader in ready:
            with suppress(BlockingIOError):
                os.read(self._reader, 4096)
        if not (self._has_keys and sys.stdin.fileno() in ready):
            return []
        data = os.read(sys.stdin.fileno(), 256)
        if not data:
            return ["q"]  # the terminal is gone
        text = data.decode("utf-8", "replace")
        return [_NAMES.get(key, key) for key in _KEY.findall(text)]

    def draw(self, lines: Sequence[Line]) -> None:
        """Show lines that fit the screen. What has not changed is not sent again."""
        drawn = [self._styled(line) for line in lines]
        if drawn == self._drawn:
            return
        self._drawn = drawn
        # What stood there is wiped first: after a full line that would take its last character.
        sys.stdout.write(_HOME + "\r\n".join(_REST_OF_LINE + line for line in drawn))
        sys.stdout.flush()

    def _styled(self, line: Line) -> str:
        color = _COLORS.get(line.style, "") if self._has_colors else ""
        return f"{color}{line.text}{_PLAIN}" if color else line.text

    def _take(self) -> None:
        if self._has_keys:
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())
        self._drawn = []
        sys.stdout.write(_ENTER)
        sys.stdout.flush()

    def _give_back(self) -> None:
        with suppress(OSError):
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
        if self._before:
            import termios

            with suppress(termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)

    def _resize(self, _number: int, _frame: FrameType | None) -> None:
        self._drawn = []
        self.wake()

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, and we ours when we come back."""
        self._give_back()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        self._take()
        self.wake()
