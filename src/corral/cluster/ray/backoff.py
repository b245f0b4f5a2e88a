"""How long to wait before something that ended is started again."""

from __future__ import annotations


class Backoff:
    """Doubles from `first_s` to `last_s`; what has run for `good_s` begins again at the first. Times in seconds."""

    def __init__(self, first_s: float = 0.5, last_s: float = 30.0, good_s: float = 60.0) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._good_s = good_s
        self._next_s = first_s

    def after(self, lived_s: float) -> float:
        """The wait after a run that lasted that long."""
        wait_s = self._first_s if lived_s >= self._good_s else self._next_s
        self._next_s = min(wait_s * 2, self._last_s)
        return wait_s
