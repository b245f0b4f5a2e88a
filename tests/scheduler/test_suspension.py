"""Whether the machine was suspended: how long it has been in all grows."""

from __future__ import annotations

from corral.scheduler.suspension import Suspension, suspended_s


def test_each_suspension_is_noticed_once() -> None:
    total = iter([0.0, 0.2, 60.0, 60.1, 61.3])
    suspension = Suspension(lambda: next(total))
    assert [suspension.has_passed() for _ in range(4)] == [False, True, False, True]


def test_this_machine() -> None:
    """Clocks differ by less than a second while nothing happens."""
    assert suspended_s() >= -1
    assert not Suspension().has_passed()
