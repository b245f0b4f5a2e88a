"""Turns of servers that fetch weights: two at a time, each as long as its requests follow each other."""

from __future__ import annotations

import pytest

from corral.library.upload_turns import NoTurnError, UploadTurns


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_two_at_a_time() -> None:
    """A third one is refused, however many requests the first two have; then it is its turn."""
    clock = Clock()
    turns = UploadTurns(grace_s=2.0, clock=clock)
    with turns.turn("a"), turns.turn("a"), turns.turn("b"), turns.turn("a"):
        with pytest.raises(NoTurnError) as info, turns.turn("c"):
            raise AssertionError
        assert info.value.retry_after_s == 1
    assert (turns.served, turns.refused) == (2, 1)


def test_a_turn_outlasts_a_request() -> None:
    """For a moment, in which the peer asks for the next part; nobody else takes it meanwhile."""
    clock = Clock()
    turns = UploadTurns(grace_s=2.0, clock=clock)
    for name in "ab":
        with turns.turn(name):
            pass
    clock.now_s = 1.9
    with pytest.raises(NoTurnError), turns.turn("c"):
        raise AssertionError
    with turns.turn("a"):
        pass
    clock.now_s = 2.1  # the turn of b is over, that of a is not
    with turns.turn("c"):
        with turns.turn("a"):
            pass
        with pytest.raises(NoTurnError), turns.turn("b"):
            raise AssertionError
    assert turns.served == 3


def test_a_request_without_a_name_keeps_nothing() -> None:
    turns = UploadTurns(grace_s=2.0, clock=Clock())
    for number in range(5):
        with turns.turn(f"request {number}", rests=False):
            pass
    first, second = turns.turn("request 6", rests=False), turns.turn("request 7", rests=False)
    with first, second, pytest.raises(NoTurnError), turns.turn("request 8", rests=False):
        raise AssertionError


def test_a_failure_gives_the_turn_back() -> None:
    turns = UploadTurns(1, grace_s=0.0, clock=Clock())
    with pytest.raises(ValueError, match="gone"), turns.turn("a"):
        raise ValueError("gone")
    with turns.turn("b"):
        pass
