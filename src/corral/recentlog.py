"""The last lines of the server's log, to look at from a browser."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from functools import cache

from corral.logs import escape_controls

KEPT_LINES = 1000
_MAX_CHARS = 1000
# What users wrote (CORRAL_LOG_BODIES): that is for the log's own reader alone.
_LEFT_OUT = "corral.bodies"


@dataclass(frozen=True, slots=True)
class Line:
    """`number` grows from line to line, and from one run of the server to the next; `at_s` is wall-clock time."""

    number: int
    at_s: float
    level: str
    logger: str
    message: str


class RecentLines(logging.Handler):
    """Keeps lines of the level INFO and above without tracebacks and bodies, whatever else the log writes.

    The rest may hold what users wrote. For any thread.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._number = int(time.time() * 1000)
        self._kept: deque[Line] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the lock held."""
        if record.name == _LEFT_OUT:
            return
        try:
            message = escape_controls(record.getMessage()[:_MAX_CHARS])
        except Exception:
            message = "a log record could not be formatted"
        self._number += 1
        self._kept.append(Line(self._number, record.created, record.levelname, record.name, message))

    def since(self, number: int) -> list[Line]:
        """The kept lines after a number, oldest first."""
        self.acquire()
        try:
            return [line for line in self._kept if line.number > number]
        finally:
            self.release()


@cache
def recent_lines() -> RecentLines:
    """Those of this process."""
    return RecentLines()
