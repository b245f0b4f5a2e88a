"""Whether the event loop is alive: a thread asks it to answer once a second, and remembers how long that took."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

_PERIOD_S = 1.0
# A loop that has not answered for this long is stuck.
STUCK_S = 10.0


class LoopPulse:
    """Start it on the event loop. `lag_s` may be read in any thread.

    `on_alive` is called in the thread after every answer of the loop, and not while it is stuck.
    """

    def __init__(self, on_alive: Callable[[], object] = lambda: None, period_s: float = _PERIOD_S) -> None:
        self._on_alive = on_alive
        self._period_s = period_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answered = threading.Event()
        self._asked_s: float | None = None
        self._last_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop lag", daemon=True)

    @property
    def lag_s(self) -> float:
        """How long the loop took for its last answer, or has been owing one, in seconds."""
        asked_s = self._asked_s
        return self._last_s if asked_s is None else max(self._last_s, time.monotonic() - asked_s)

    @property
    def is_stuck(self) -> bool:
        return self.lag_s > STUCK_S

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._answered.set()

    def _watch(self) -> None:
        assert self._loop is not None
        while not self._stop.is_set():
            self._answered.clear()
            self._asked_s = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:
                return  # the loop has ended
            self._answered.wait()
            self._last_s, self._asked_s = time.monotonic() - self._asked_s, None
            if not self._stop.is_set():
                self._on_alive()
            self._stop.wait(self._period_s)
