"""The circuit breaker: three failures in ten seconds, then 5 s, 10 s ... 60 s without requests, and one trial."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.breaker import MAX_OPEN_S, OPEN_S, TRIAL_S, Breaker


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        breaker.failed("a", now)
    return breaker


def test_the_third_failure_within_ten_seconds_opens() -> None:
    breaker = Breaker()
    for now in (0, 5):
        breaker.failed("a", now)
        assert not breaker.is_open("a", now)
    breaker.failed("a", 11)  # the first is too old
    assert not breaker.is_open("a", 11)
    breaker.failed("a", 15)
    assert breaker.is_open("a", 15)
    assert list(breaker.closed_to(15)) == ["a"]
    assert not breaker.is_open("b", 15)


def test_successes_between_do_not_hide_failures() -> None:
    breaker = Breaker()
    for now in range(3):
        breaker.succeeded("a", now)
        breaker.failed("a", now)
    assert breaker.is_open("a", 3)


def test_one_trial_at_a_time() -> None:
    breaker = opened()
    assert breaker.is_open("a", OPEN_S - 0.1)
    assert not breaker.is_open("a", OPEN_S)
    assert breaker.began("a", OPEN_S)
    assert breaker.is_open("a", OPEN_S + 1)
    breaker.succeeded("a", OPEN_S + 2)
    assert not breaker.is_open("a", OPEN_S + 2)
    assert not breaker.began("a", OPEN_S + 2)


def test_each_failed_trial_doubles_the_time() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(6):
        since = now
        while breaker.is_open("a", now):
            now += 1
        waits.append(now - since)
        breaker.began("a", now)
        breaker.failed("a", now)
    assert waits == [5, 10, 20, 40, MAX_OPEN_S, MAX_OPEN_S]


def test_what_was_under_way_before_it_opened_changes_nothing() -> None:
    breaker = opened()
    breaker.failed("a", 1)
    breaker.succeeded("a", 2)
    assert breaker.is_open("a", 4.9)
    assert not breaker.is_open("a", 5)


@pytest.mark.parametrize("is_reported", [True, False])
def test_a_trial_without_an_end_frees_its_place(is_reported: bool) -> None:
    breaker = opened()
    breaker.began("a", 5)
    if is_reported:
        breaker.abandoned("a")
    assert breaker.is_open("a", 6) is not is_reported
    assert not breaker.is_open("a", 5 + TRIAL_S)


def test_a_node_that_started_again_is_asked_at_once() -> None:
    breaker = opened()
    breaker.forget("a")
    assert not breaker.is_open("a", 0)


@given(st.lists(st.tuples(st.sampled_from(["failed", "succeeded", "began", "abandoned"]), st.floats(0, 30))))
def test_it_never_stays_shut(events: list[tuple[str, float]]) -> None:
    """Whatever happens, after the longest times a request gets through."""
    breaker, now = Breaker(), 0.0
    for name, seconds in events:
        now += seconds
        if name == "abandoned":
            breaker.abandoned("a")
        else:
            getattr(breaker, name)("a", now)
    assert not breaker.is_open("a", now + max(MAX_OPEN_S, TRIAL_S))
