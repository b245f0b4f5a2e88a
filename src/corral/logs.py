"""The server's log: one line per event, which clients cannot forge, written by a thread that nobody waits for.

The server's stderr may be a pipe that nobody reads, a closed one, or a file on a full disk. Lines then wait in a
bounded queue; what does not fit is dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque

_MAX_QUEUED_BYTES = 4 << 20
# A thread that is woken for each line competes with the event loop for the interpreter: lines that follow one wait.
_PAUSE_S = 0.02
_MAX_WRITE_BYTES = 16 << 10
# Characters that end lines, move the cursor, set colours, or change the direction of text.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
# No line is longer: errors and names may hold what strangers wrote.
_MAX_LINE_CHARS = 4000
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_controls(text: str) -> str:
    """The text with all control characters written as escapes."""
    return text if text.isprintable() else _CONTROLS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    form = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(character, form)


class LineFormatter(logging.Formatter):
    """One line per event: time, level, logger, then `key=value` words. Tracebacks are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created)) + f".{record.msecs:03.0f}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        if len(text) > _MAX_LINE_CHARS:
            text = f"{text[:_MAX_LINE_CHARS]}... ({len(text) - _MAX_LINE_CHARS} more characters)"
        return escape_controls(text)

    def formatException(self, ei: object) -> str:
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join(f"    {escape_controls(line)}" for line in lines)


class JSONFormatter(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, and the fields of the event.

    A record has fields if it was made with `extra={"fields": ...}`; `traceback` is that of an error.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, object] = {
            "time": f"{moment}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_LINE_CHARS],
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        # With ASCII alone nothing can end the line or move a cursor.
        return json.dumps(entry, default=str)


class Sparing:
    """Limits log lines that clients can cause at will: a few per minute, then none until the minute is over."""

    def __init__(self, log: logging.Logger, *, lines_per_minute: int = 20) -> None:
        self._log = log
        self._lines_per_minute = lines_per_minute
        self._minute = 0
        self._count = 0

    def write(self, level: int, message: str, *args: object) -> None:
        if self._log.isEnabledFor(level) and self.may_write():
            self._log.log(level, message, *args)

    def may_write(self) -> bool:
        """Whether one more line is allowed, which counts as written."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        return self._count <= self._lines_per_minute


class LogWriter(logging.Handler):
    """Writes lines to a descriptor in its own thread; `emit` and `put` never wait."""

    def __init__(
        self, descriptor: int, *, is_json: bool = False, max_queued_bytes: int = _MAX_QUEUED_BYTES
    ) -> None:
        super().__init__()
        self.setFormatter(JSONFormatter() if is_json else LineFormatter())
        self.dropped_count = 0
        self._descriptor = descriptor
        self._max_queued_bytes = max_queued_bytes
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped_count = 0
        self._is_closing = threading.Event()
        self._is_waiting = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
        except Exception:
            line = f"a log record of {record.name} could not be formatted\n"
        self.put(line)

    def put(self, text: str) -> None:
        """Write a text unchanged, if the queue has room."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._is_closing.is_set() or self._queued_bytes + len(data) > self._max_queued_bytes:
                self.dropped_count += 1
                self._dropped_count += 1
                return
            self._lines.append(data)
            self._queued_bytes += len(data)
            if self._is_waiting:
                self._is_waiting = False
                self._changed.notify()

    def drain(self, timeout_s: float = 2.0) -> None:
        """Wait until everything is written, or nothing was for this long; later lines are dropped."""
        with self._changed:
            self._is_closing.set()
            self._changed.notify()
        left_bytes = -1
        while self._thread.is_alive() and left_bytes != self._queued_bytes:
            left_bytes = self._queued_bytes
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (data := self._next()) is not None:
            with contextlib.suppress(OSError):
                self._write(data)
            with self._changed:
                self._queued_bytes -= len(data)
                is_done = not self._lines
            if is_done:
                self._is_closing.wait(_PAUSE_S)

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._lines:
                if self._is_closing.is_set():
                    return None
                self._is_waiting = True
                self._changed.wait()
            if self._dropped_count and self._queued_bytes < self._max_queued_bytes // 2:
                note = b"(%d log lines were dropped: nobody read them in time)\n" % self._dropped_count
                self._dropped_count = 0
                self._queued_bytes += len(note)
                return note
            return self._take()

    def _take(self) -> bytes:
        """Some of the lines that wait."""
        taken = [self._lines.popleft()]
        size = len(taken[0])
        while self._lines and size + len(self._lines[0]) <= _MAX_WRITE_BYTES:
            size += len(self._lines[0])
            taken.append(self._lines.popleft())
        return b"".join(taken)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                select.select((), (self._descriptor,), ())


def set_up_logging(level: str, *others: logging.Handler, is_json: bool = False) -> LogWriter:
    """Send the log to standard error and to `others`, and uncaught exceptions of threads to the log."""
    _open_standard_streams()
    writer = LogWriter(2, is_json=is_json)
    logging.basicConfig(level=logging.WARNING, handlers=[writer, *others], force=True)
    logging.getLogger("corral").setLevel(level)
    threading.excepthook = _log_thread_end
    return writer


def _open_standard_streams() -> None:
    """Open /dev/null for closed standard streams; otherwise a socket would get that number, and the log."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - it stays open
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _log_thread_end(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit and args.exc_value is not None:
        name = args.thread.name if args.thread else "?"
        logging.getLogger("corral").error("a thread failed name=%s", name, exc_info=args.exc_value)
