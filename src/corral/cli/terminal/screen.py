"""The terminal: its size, its colours, and protection from control characters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn, TextIO

GREY = "\x1b[38;5;245m"
BOLD_GREY = "\x1b[38;5;245m\x1b[1m"
RESET = "\x1b[0m"
# Text from a model, a registry or a server must not send control characters to a terminal: they could set its title,
# its clipboard or its colours. Each is replaced by its visible symbol (␛ for escape).
_CONTROL: dict[int, int | None] = {0x7F: 0x2421}
_CONTROL.update((code, 0x2400 + code) for code in range(32) if chr(code) not in "\n\t\r")
_CONTROL.update((code, 0xFFFD) for code in range(0x80, 0xA0))
_CONTROL[0x0D] = None  # CRLF texts are common and harmless without the CR


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads this stream."""
    return stream is not None and stream.isatty()


def has_colors(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def safe(text: str) -> str:
    """Text without control characters other than newlines and tabs."""
    return text if text.isprintable() else text.translate(_CONTROL)


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a stream's terminal; 80 by 24 if it is not a terminal."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


@contextmanager
def quiet_keys() -> Iterator[None]:
    """Do not echo keys while a response is printed; typed text is kept for the next prompt."""
    try:
        import termios

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError):  # not a terminal, or not a POSIX one
        yield
        return
    muted = [*before]
    muted[0] &= ~termios.ICRNL  # Enter stays Enter for the prompt that will read it
    muted[3] &= ~(termios.ECHO | termios.ICANON)
    muted[3] |= termios.NOFLSH  # Ctrl-C does not discard typed text
    termios.tcsetattr(descriptor, termios.TCSADRAIN, muted)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def tidy_end() -> Iterator[None]:
    """Make SIGTERM run `finally` clauses, so that the terminal is restored."""
    import signal

    def on_term(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
