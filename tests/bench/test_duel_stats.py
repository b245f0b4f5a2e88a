"""Medians, tails, ratios, memory of a tree of processes."""

from __future__ import annotations

import pytest

from bench.duel.stats import is_busy, ratio, tail, tree_rss_mb

LISTING = """
    1     0   900
   10     1  2000
   11    10  3000
   12    11  4000
   20     1  5000
"""


def test_tail_is_the_bad_end() -> None:
    samples = [float(n) for n in range(100, 0, -1)]
    assert tail(samples, is_lower_better=True) == 95
    assert tail(samples, is_lower_better=False) == 6
    assert tail([3.0], is_lower_better=True) == 3


def test_ratio() -> None:
    assert ratio([1, 2, 9], [4, 4, 4]) == 2
    assert ratio([], [1]) is None
    assert ratio([1], []) is None
    assert ratio([0], [1]) is None


def test_busy_is_above_half_a_core() -> None:
    assert not is_busy(1.0, 2)
    assert is_busy(1.1, 2)


def test_memory_of_a_process_and_its_descendants() -> None:
    assert tree_rss_mb(LISTING.strip(), 10) == pytest.approx((2.048, 9.216))
    with pytest.raises(ValueError, match="process 99 does not run"):
        tree_rss_mb(LISTING.strip(), 99)
