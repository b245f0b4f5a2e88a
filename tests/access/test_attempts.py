"""Wrong keys by address: ten at once, then one each six seconds."""

from __future__ import annotations

import pytest

from corral.access import attempts
from corral.access.attempts import Attempts


def test_ten_are_heard() -> None:
    """The wait is until the next one, and an attempt that is not heard does not make it longer."""
    found = Attempts()
    assert [found.fail("10.0.0.1", 100.0) for _ in range(10)] == [0.0] * 10
    assert found.fail("10.0.0.1", 100.0) == 6.0
    assert found.fail("10.0.0.1", 101.5) == pytest.approx(4.5)
    assert found.fail("10.0.0.1", 106.1) == 0.0
    assert found.fail("10.0.0.1", 106.1) == pytest.approx(5.9)


def test_the_tenth_is_heard_and_so_is_one_that_is_just_back() -> None:
    found = Attempts()
    for _ in range(10):
        found.fail("10.0.0.1", 0.0)
    assert found.fail("10.0.0.1", 6.0) == 0.0
    assert found.fail("10.0.0.1", 6.0) == 6.0


def test_they_come_back_in_a_minute_and_are_never_more() -> None:
    found = Attempts()
    for now_s in (0.0, 1000.0):
        assert [found.fail("10.0.0.1", now_s) for _ in range(10)] == [0.0] * 10
        assert found.fail("10.0.0.1", now_s) == 6.0


def test_addresses_count_for_themselves() -> None:
    """Of IPv6 a whole network is one."""
    found = Attempts()
    for _ in range(10):
        found.fail("2001:db8::1", 0.0)
    assert found.fail("2001:db8::2", 0.0) > 0
    assert found.fail("2001:db8:0:1::1", 0.0) == 0.0
    assert len(found) == 2


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that has failed least lately goes."""
    monkeypatch.setattr(attempts, "_MAX_ADDRESSES", 2)
    found = Attempts()
    for _ in range(10):
        found.fail("10.0.0.1", 0.0)
    found.fail("10.0.0.2", 0.0)
    assert found.fail("10.0.0.1", 0.0) > 0
    found.fail("10.0.0.3", 0.0)
    assert len(found) == 2
    assert found.fail("10.0.0.1", 0.0) > 0
    # 10.0.0.3 is still there, 10.0.0.2 is not: it has all its attempts again.
    assert [found.fail("10.0.0.3", 0.0) for _ in range(9)] == [0.0] * 9
    assert found.fail("10.0.0.3", 0.0) > 0
