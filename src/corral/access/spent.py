"""What was spent today, in a file, so that a restart gives nobody a second day. Written a second after a change."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path

from corral.disk import write_atomically

_log = logging.getLogger("corral.access")
_DELAY_S = 1.0
_MAX_SUBJECTS = 10_000


class Spent:
    """Tokens by subject, of one day. What was spent in the last second before a crash is not in the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._day = 0
        self._tokens: dict[str, int] = {}
        self._is_dirty = False
        self._timer: asyncio.TimerHandle | None = None

    def load(self) -> None:
        """Read the file; one that cannot be read counts as empty, and the log says so."""
        try:
            found = json.loads(self._path.read_bytes())
            self._day = int(found["day"])
            self._tokens = {str(subject): int(tokens) for subject, tokens in found["tokens"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            _log.warning("what was spent today is not known, %s cannot be read: %s", self._path, exc)

    def of(self, subject: str, day: int) -> int:
        """What a subject has spent on a day."""
        return self._tokens.get(subject, 0) if day == self._day else 0

    def note(self, subject: str, day: int, tokens: int) -> None:
        """Called on the event loop."""
        if day != self._day:
            self._day, self._tokens = day, {}
        if self._tokens.get(subject) == tokens or len(self._tokens) > _MAX_SUBJECTS:
            return
        self._tokens[subject] = tokens
        self._is_dirty = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_S, self._start_write)

    def close(self) -> None:
        """Write what is not written yet. Blocks."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_dirty:
            self._write(*self._snapshot())

    def _start_write(self) -> None:
        self._timer = None
        day, tokens = self._snapshot()
        asyncio.get_running_loop().run_in_executor(None, self._write, day, tokens)

    def _snapshot(self) -> tuple[int, dict[str, int]]:
        self._is_dirty = False
        return self._day, dict(self._tokens)

    def _write(self, day: int, tokens: dict[str, int]) -> None:
        data = json.dumps({"day": day, "tokens": tokens}).encode()
        with self._lock:
            try:
                write_atomically(self._path, data, mode=0o600)
            except OSError as exc:
                _log.warning("what was spent today is not written: %s", exc)
