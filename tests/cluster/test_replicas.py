"""How many replicas are wanted: numbers over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.replicas import DOWN_AFTER_S, Demand, Managed, Replicas, Scaler, demand_of
from corral.cluster.view import Health, LoadedModel, NodeView, View

MODEL, DIGEST = "m:latest", "sha256:1"


def node(name: str, running: int, waiting: int = 0, slots: int = 4) -> NodeView:
    return NodeView(
        name, models={MODEL: DIGEST}, loaded={DIGEST: LoadedModel(DIGEST, slots, running, waiting)}
    )


def view(*nodes: NodeView) -> View:
    return View({node.id: node for node in nodes})


def managed(**rules: Any) -> Managed:
    return Managed(MODEL, DIGEST, Replicas(**rules))


class Watched:
    """A scaler that looks each second."""

    def __init__(self, **rules: int) -> None:
        self.scaler, self.model, self.now = Scaler(), managed(**rules), 0.0

    def after(self, seconds: int, *nodes: NodeView) -> int:
        number = 0
        for _ in range(seconds):
            number = self.scaler.wanted(view(*nodes), [self.model], self.now)[MODEL]
            self.now += 1
        return number


def test_what_is_asked_over_the_slots_of_a_node() -> None:
    watched = Watched(max=9)
    assert watched.after(1, node("a", 4)) == 1
    assert watched.after(60, node("a", 4), node("b", 4), node("c", 1)) == 3
    assert watched.after(60, node("a", 4), node("b", 4), node("c", 1)) == 3


def test_a_burst_that_nobody_waits_for_is_smoothed() -> None:
    watched = Watched(max=9)
    watched.after(60, node("a", 1))
    assert watched.after(1, node("a", 4), node("b", 4)) == 1
    assert watched.after(30, node("a", 4), node("b", 4)) == 2


def test_one_more_when_requests_wait_for_two_seconds() -> None:
    watched = Watched(max=9)
    watched.after(60, node("a", 1))
    assert watched.after(2, node("a", 4, 1)) == 1
    assert watched.after(1, node("a", 4, 1)) == 2
    watched.after(1, node("a", 4))
    assert watched.after(2, node("a", 4, 1), node("b", 4, 1)) == 2, "the wait began again"
    assert watched.after(1, node("a", 4, 1), node("b", 4, 1)) == 3


def test_less_after_five_minutes() -> None:
    watched = Watched(max=9)
    watched.after(60, node("a", 4), node("b", 4))
    assert watched.after(int(DOWN_AFTER_S) - 10, node("a", 1), node("b", 0)) == 2
    assert watched.after(80, node("a", 1), node("b", 0)) == 1
    assert watched.after(int(DOWN_AFTER_S) + 120, node("a", 0)) == 0


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 60), st.integers(0, 60))
def test_always_within_the_bounds(low: int, more: int, running: int, waiting: int) -> None:
    watched = Watched(min=low, max=low + more)
    assert low <= watched.after(10, node("a", running, waiting)) <= low + more


@pytest.mark.parametrize(("busiest", "expected"), [(None, 2), (0.0, 0), (0.5, 1), (3.0, 2), (90.0, 2)])
def test_before_anybody_asks(busiest: float | None, expected: int) -> None:
    """All of them while there is no history; later as many as the busiest hour of the day needed."""
    model = managed(max=3, prewarm=2)
    daily = {} if busiest is None else {MODEL: busiest}
    assert Scaler().wanted(view(node("a", 0, slots=2)), [model], 0, daily=daily) == {MODEL: expected}


def test_models_are_counted_apart_and_forgotten() -> None:
    scaler, other = Scaler(), Managed("n", "sha256:2", Replicas(max=5))
    assert scaler.wanted(view(node("a", 9)), [managed(max=5), other], 0) == {MODEL: 3, "n": 0}
    assert scaler.wanted(view(node("a", 0)), [other], 1) == {"n": 0}
    assert scaler.wanted(view(node("a", 0)), [managed(max=5)], 2) == {MODEL: 0}


def test_what_is_asked_of_nodes_that_leave_counts_too() -> None:
    leaving = replace(node("a", 4, 1), is_draining=True)
    gone = replace(node("b", 0), health=Health.GONE)
    assert demand_of(view(leaving, gone, node("c", 2, slots=8)), DIGEST) == Demand(6, 1, 8, 1)
    assert demand_of(view(), DIGEST) == Demand()
