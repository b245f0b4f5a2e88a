"""Which failures may be tried elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.retries import MAX_FURTHER, Attempt, is_failure, may_retry

STATUSES = st.one_of(st.none(), st.integers(100, 599))


@pytest.mark.parametrize("status", [None, 502, 503])
def test_what_is_tried_elsewhere(status: int | None) -> None:
    assert [may_retry(Attempt(status, number), has_capacity=False) for number in (1, 2, 3, 4)] == [
        True,
        True,
        False,
        False,
    ]
    assert not may_retry(Attempt(status), has_capacity=True, max_further=0)


@pytest.mark.parametrize("has_capacity", [True, False])
def test_a_full_node_if_another_one_is_not(has_capacity: bool) -> None:
    assert may_retry(Attempt(429), has_capacity=has_capacity) is has_capacity


@given(STATUSES, st.integers(1, 5), st.booleans())
def test_never_after_the_first_byte_or_without_the_body(status: int | None, number: int, has: bool) -> None:
    assert not may_retry(Attempt(status, number, has_begun=True), has_capacity=has)
    assert not may_retry(Attempt(status, number, is_body_kept=False), has_capacity=has)


@given(STATUSES, st.booleans())
def test_answers_are_passed_on(status: int | None, has: bool) -> None:
    """Errors of the request, of the model and of the server, and slow ones: another node would say the same."""
    if status not in (None, 429, 502, 503):
        assert not may_retry(Attempt(status), has_capacity=has)
        assert not is_failure(status)


@given(STATUSES)
def test_never_more_than_two_further_nodes(status: int | None) -> None:
    number = 1
    while may_retry(Attempt(status, number), has_capacity=True):
        number += 1
    assert number <= 1 + MAX_FURTHER


def test_what_speaks_against_a_node() -> None:
    assert [is_failure(status) for status in (None, 502, 503, 429, 500, 404, 200)] == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
