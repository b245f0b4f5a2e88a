"""Bandwidth: a token bucket that all parts of a transfer draw from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BURST_S = 0.25
_MIN_BURST_BYTES = 64 << 10


class RateLimit:
    """A token bucket, shared by threads. `bytes_per_s` may change while it is used; 0 means no limit."""

    def __init__(
        self,
        bytes_per_s: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        parent: RateLimit | None = None,
    ) -> None:
        self._rate = bytes_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._parent = parent
        self._tokens = 0.0
        self._filled_s = clock()

    @property
    def bytes_per_s(self) -> int:
        """The lower of this limit and its parent's; 0 if there is none."""
        rates = [rate for rate in (self._rate, self._parent.bytes_per_s if self._parent else 0) if rate]
        return min(rates, default=0)

    def set_rate(self, bytes_per_s: int) -> None:
        with self._lock:
            self._rate = bytes_per_s

    def reserve(self, count: int) -> float:
        """Take `count` bytes out of the bucket; return the seconds that the caller has to wait."""
        wait_s = self._parent.reserve(count) if self._parent else 0.0
        with self._lock:
            rate = self._rate
            if not rate:
                return wait_s
            now_s = self._clock()
            burst = max(rate * _BURST_S, _MIN_BURST_BYTES)
            self._tokens = min(self._tokens + (now_s - self._filled_s) * rate, burst) - count
            self._filled_s = now_s
            return max(wait_s, -self._tokens / rate)

    def piece_bytes(self, largest: int) -> int:
        """How much to read at a time to keep waits short."""
        rate = self.bytes_per_s
        return largest if not rate else max(min(largest, rate // 20), 4096)
