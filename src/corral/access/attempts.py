"""Counts wrong keys by address, so that whoever tries many is told to wait. Pure: times are given."""

from __future__ import annotations

from collections import OrderedDict

from corral.access.addresses import bucket_of

_MOST = 10
_WINDOW_S = 60.0
_MAX_ADDRESSES = 4096


class Attempts:
    """A bucket of ten failures for each address, which fills up again in a minute. The table is bounded."""

    def __init__(self) -> None:
        # Failures that are left, and when that was.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def fail(self, address: str, now_s: float) -> float:
        """Count a failure; 0, or in how many seconds the next attempt will be heard."""
        bucket = bucket_of(address)
        left, then_s = self._left.pop(bucket, (float(_MOST), now_s))
        left = min(left + (now_s - then_s) * _MOST / _WINDOW_S, float(_MOST))
        wait_s = 0.0 if left >= 1 else (1 - left) * _WINDOW_S / _MOST
        self._left[bucket] = (left if wait_s else left - 1, now_s)
        if len(self._left) > _MAX_ADDRESSES:
            self._left.popitem(last=False)
        return wait_s
