"""Whether the machine has been suspended since the last look: what drivers of GPUs held may be lost then."""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAST_S = 1.0


def suspended_s() -> float:
    """How long the machine has been suspended since its start; 0 where the system does not say."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return 0.0
    return time.clock_gettime(clock) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Suspension:
    """`measure` gives the seconds that the machine has been suspended in all; only that it grows matters."""

    def __init__(self, measure: Callable[[], float] = suspended_s) -> None:
        self._measure = measure
        self._before_s = measure()

    def has_passed(self) -> bool:
        """Whether the machine was suspended since the last call."""
        now_s = self._measure()
        passed = now_s - self._before_s > _LEAST_S
        self._before_s = now_s
        return passed
