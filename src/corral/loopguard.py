"""Measures how long single callbacks hold the event loop, and logs where.

A beat runs on the loop every few milliseconds. Unless a callback runs long, the loop's thread uses little more CPU
time between two beats than their distance; the excess is how long the other callbacks had to wait. CPU time is
measured, not wall time, so a busy machine does not look like a slow callback. Meanwhile a second thread samples the
stack of the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType

_log = logging.getLogger("corral.loop")
_BEAT_S = 0.005
_MAX_FRAMES = 6


class LoopGuard:
    """Logs callbacks that use more than `bound_s` of CPU time on the event loop."""

    def __init__(self, bound_s: float) -> None:
        self._bound_s = bound_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0
        self._clock = 0
        self._beat_cpu_s = 0.0
        self._beat_count = 0
        self._seen: tuple[int, str] = (0, "")
        self._timer: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="loop guard", daemon=True)
        self.longest_s = 0.0

    def start(self) -> None:
        """Start; call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread_id)
        self._beat_cpu_s = time.thread_time()
        self._timer = self._loop.call_later(_BEAT_S, self._beat)
        self._watcher.start()

    def stop(self) -> None:
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        now_s = time.thread_time()
        used_s = now_s - self._beat_cpu_s - _BEAT_S
        self.longest_s = max(self.longest_s, used_s)
        if used_s > self._bound_s:
            place = self._seen[1] if self._seen[0] == self._beat_count else "?"
            _log.warning("the event loop was held ms=%.0f at=%s", used_s * 1000, place)
        self._beat_cpu_s = time.thread_time()
        self._beat_count += 1
        assert self._loop is not None
        self._timer = self._loop.call_later(_BEAT_S, self._beat)

    def _watch(self) -> None:
        while not self._stop.wait(self._bound_s / 4):
            count = self._beat_count
            used_s = time.clock_gettime(self._clock) - self._beat_cpu_s
            if used_s > self._bound_s / 2 and self._seen[0] != count:
                frame = sys._current_frames().get(self._thread_id)
                if frame is not None and count == self._beat_count:
                    self._seen = (count, _describe(frame))


def _describe(frame: FrameType) -> str:
    """The innermost lines of a stack, the running one first."""
    frames = traceback.extract_stack(frame, limit=_MAX_FRAMES)
    return " < ".join(f"{entry.filename.rpartition('corral/')[2]}:{entry.lineno}" for entry in frames[::-1])
