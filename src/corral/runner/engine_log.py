"""What an engine writes to stderr, as lines of the log at DEBUG, each with the model's name."""

from __future__ import annotations

import logging

_log = logging.getLogger("corral.engine")
# A longer line is cut, and an unfinished one of this length is written as it is.
_MAX_LINE_BYTES = 2000


class EngineLog:
    """Splits the stream of one child into lines. It is untrusted text: `logs.LineFormatter` escapes controls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rest = b""

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
            _log.debug("model=%s %s", self.name, text)
