"""Calls an action if a block does not end in time: one thread for all deadlines of the process."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator

_log = logging.getLogger("corral.registry")
_IDLE_S = 30.0


class _Entry:
    __slots__ = ("action", "is_over")

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.is_over = False


class Deadlines:
    """Thread-safe. The thread starts with the first deadline and ends after it has had none for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, _Entry]] = []
        self._serial = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def call_after(self, seconds: float, action: Callable[[], None]) -> Iterator[None]:
        """Call `action`, which must not block, unless the block ends within `seconds`."""
        entry = _Entry(action)
        with self._changed:
            heapq.heappush(self._heap, (self._clock() + seconds, next(self._serial), entry))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="registry-deadlines", daemon=True)
                self._thread.start()
            elif self._heap[0][2] is entry:
                self._changed.notify()
        try:
            yield
        finally:
            entry.is_over = True

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            try:
                entry.action()
            except Exception:
                _log.exception("a deadline failed")

    def _next(self) -> _Entry | None:
        """The next entry that is due; None when the thread is to end."""
        with self._changed:
            while True:
                while self._heap and self._heap[0][2].is_over:
                    heapq.heappop(self._heap)
                if not self._heap:
                    if not self._changed.wait(_IDLE_S) and not self._heap:
                        self._thread = None
                        return None
                    continue
                wait_s = self._heap[0][0] - self._clock()
                if wait_s <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait_s)


DEADLINES = Deadlines()
