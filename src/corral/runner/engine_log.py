"""What an engine writes to stderr, as lines of the log at DEBUG, each with the model's name and whom it is about."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator

from corral import requestfacts

_log = logging.getLogger("corral.engine")
# A longer line is cut, and an unfinished one of this length is written as it is.
_MAX_LINE_BYTES = 2000
# A line is about one of the requests that run. With more of them than this it says nothing.
_MAX_NAMED = 4


class EngineLog:
    """Splits the stream of one child into lines. It is untrusted text: `logs.LineFormatter` escapes controls.

    The engine does not know our requests: a line gets the ids of those that it works for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._rest = b""
        self._running: Counter[str] = Counter()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """The engine works for the request of this task in this block."""
        request_id = requestfacts.current().request_id
        self._running[request_id] += 1
        try:
            yield
        finally:
            self._running[request_id] -= 1
            if not self._running[request_id]:
                del self._running[request_id]

    def feed(self, data: bytes) -> None:
        if not _log.isEnabledFor(logging.DEBUG):
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._write(line)
        if len(self._rest) > _MAX_LINE_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write a last line without an end."""
        self._write(self._rest)
        self._rest = b""

    def _write(self, line: bytes) -> None:
        if text := line[:_MAX_LINE_BYTES].decode("utf-8", "replace").rstrip():
            requests = ",".join(filter(None, self._running)) if len(self._running) <= _MAX_NAMED else ""
            fields = {"model": self.name, **({"request": requests} if requests else {})}
            words = " ".join(f"{name}={value}" for name, value in fields.items())
            _log.debug("%s %s", words, text, extra={"fields": fields})
