"""Samples of one figure, and what is read from them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def tail(samples: Sequence[float], *, is_lower_better: bool, share: float = 0.95) -> float:
    """The value that `share` of the samples reach or beat: p95 of times, the fifth percentile of speeds."""
    ordered = sorted(samples, reverse=not is_lower_better)
    return ordered[math.ceil(share * len(ordered)) - 1]


def ratio(base: Sequence[float], other: Sequence[float]) -> float | None:
    """Median of `other` as a multiple of that of `base`; None where either has none or the base is 0."""
    if not base or not other or not median(base):
        return None
    return median(other) / median(base)


def is_busy(load: float, core_count: int) -> bool:
    """Whether a load average says that other work disturbs a benchmark."""
    return load > 0.5 * core_count


def tree_rss_mb(listing: str, pid: int) -> tuple[float, float]:
    """Resident MB of a process, and of it with all its descendants.

    `listing`: lines of "pid ppid rss-in-KiB", as `ps -A -o pid=,ppid=,rss=` prints them. Raises ValueError if the
    process is not among them.
    """
    rss: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for line in listing.splitlines():
        number, parent, size = (int(word) for word in line.split())
        rss[number] = size
        children.setdefault(parent, []).append(number)
    if pid not in rss:
        raise ValueError(f"process {pid} does not run")
    total, waiting = 0, [pid]
    while waiting:
        number = waiting.pop()
        total += rss[number]
        waiting += children.get(number, [])
    return rss[pid] * 1024 / 1e6, total * 1024 / 1e6
