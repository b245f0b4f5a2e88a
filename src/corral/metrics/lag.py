"""How late the event loop is: what a new request waits before anything is done for it."""

from __future__ import annotations

import asyncio

from corral.metrics.instruments import Gauge

_EVERY_S = 0.25
# Two looks of Prometheus at its usual distance fall into this time.
_KEPT_S = 30.0


class LoopLag:
    """The longest delay of a timer in the last half minute, in seconds. Belongs to the event loop."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._recent = [0.0, 0.0]
        self._turn_s = 0.0

    def start(self) -> None:
        """Start; call it on the event loop."""
        self._wait()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def longest_s(self) -> float:
        return max(self._recent)

    def family(self) -> Gauge:
        return Gauge(
            "corral_event_loop_lag_seconds",
            "The longest delay of a timer on the event loop in the last half minute.",
            (),
            lambda: [((), self.longest_s)],
        )

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + _EVERY_S
        self._timer = loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._turn_s > _KEPT_S / 2:
            self._turn_s = now_s
            self._recent = [0.0, self._recent[0]]
        self._recent[0] = max(self._recent[0], now_s - self._due_s)
        self._wait()
