"""The choice of a node: each step by an example, and what holds for every view by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.choose import DEFAULT, Rules, choose, is_free, takes
from corral.cluster.holding import Holding
from corral.cluster.load import load_of, load_seconds
from corral.cluster.view import Decision, Health, LoadedModel, NodeView, View, Wanted, Why

MODEL, DIGEST, OTHER = "registry.ollama.ai/library/m:latest", "sha256:1", "sha256:2"
WANTED = Wanted(MODEL, keys=(b"",) * 20)


def node(
    name: str, running: int = 0, waiting: int = 0, *, slots: int = 4, is_on: bool = True, **fields: Any
) -> NodeView:
    loaded = {DIGEST: LoadedModel(DIGEST, slots, running, waiting)} if is_on else {}
    return replace(NodeView(name, models={MODEL: DIGEST}, loaded=loaded), **fields)


def view(*nodes: NodeView) -> View:
    return View({node.id: node for node in nodes})


def chosen(*nodes: NodeView, shares: Mapping[str, float] | None = None, **fields: Any) -> tuple[str, str]:
    pinned = str(fields.pop("pinned", ""))
    wanted = replace(WANTED, **fields)
    decision = choose(view(*nodes), wanted, shares or {}, pinned=pinned)
    return decision.node, decision.why


class TestWhoCan:
    def test_nobody(self) -> None:
        assert choose(view(), WANTED, {}) == Decision("", Why.ONLY)

    @pytest.mark.parametrize(
        "fields",
        [
            {"health": Health.SUSPECT},
            {"health": Health.GONE},
            {"is_draining": True},
            {"is_open": True},
            {"models": {}},
            {"models": {MODEL: OTHER}},
        ],
    )
    def test_not_this_one(self, fields: dict[str, Any]) -> None:
        wanted = replace(WANTED, digest=DIGEST)
        assert choose(view(node("a", **fields)), wanted, {"a": 1.0}, pinned="a").node == ""
        both = view(node("a", **fields), node("b", 9, 9))
        assert choose(both, wanted, {"a": 1.0}, pinned="a") == Decision("b", Why.ONLY)

    def test_not_one_that_failed_it(self) -> None:
        assert chosen(node("a"), node("b", 9, 9), tried=frozenset("a")) == ("b", "only")
        assert chosen(node("a"), tried=frozenset("a")) == ("", "only")

    def test_nodes_with_other_files_under_that_name_count_if_nobody_asked_for_a_digest(self) -> None:
        assert chosen(node("a", 1), node("b", is_on=False, models={MODEL: OTHER})) == ("a", "loaded")


class TestLoaded:
    def test_before_free_memory(self) -> None:
        nodes = node("a", 3), node("b", is_on=False, free_bytes=10**12)
        assert chosen(*nodes) == ("a", "loaded")

    def test_unless_waiting_takes_longer_than_a_load(self) -> None:
        spare = node("b", is_on=False, load_seconds={DIGEST: 6.0})
        assert chosen(node("a", 4, 4, request_seconds={DIGEST: 4.0}), spare) == ("a", "loaded")  # 5 s
        assert chosen(node("a", 4, 6, request_seconds={DIGEST: 4.0}), spare) == ("b", "memory")  # 7 s

    def test_a_spare_without_room_is_not_better(self) -> None:
        spare = node("b", is_on=False, load_seconds={DIGEST: 1.0}, free_bytes=5)
        busy = node("a", 4, 60)
        assert chosen(busy, spare, needs_bytes=6) == ("a", "loaded")
        assert chosen(busy, spare, needs_bytes=5) == ("b", "memory")

    def test_of_many_spares_some_are_looked_at(self) -> None:
        """Others with each request, so that none is left out for good."""
        spares = [node(f"s{i}", is_on=False, load_seconds={DIGEST: 1.0}) for i in range(200)]
        picks = [chosen(node("a", 4, 60), *spares, seed=seed) for seed in range(100)]
        assert {why for _, why in picks} == {"memory"}
        assert len(set(picks)) > 50

    def test_a_load_under_way_is_waited_for(self) -> None:
        """Also one that this gateway has caused and nobody has reported yet: a burst does not load everywhere."""
        loading = replace(node("a"), loaded={DIGEST: LoadedModel(DIGEST, is_loading=True)})
        caused = node("a", is_on=False, sent={DIGEST: 1})
        for first in (loading, caused):
            first = replace(first, load_seconds={DIGEST: 5.0}, request_seconds={DIGEST: 0.1})
            assert chosen(first, node("b", is_on=False, load_seconds={DIGEST: 5.0})) == ("a", "loaded")

    def test_of_cold_nodes_one_with_room_then_one_that_could_make_room(self) -> None:
        full = node("a", is_on=False, free_bytes=1, total_bytes=10)
        small = node("b", is_on=False, free_bytes=1, total_bytes=2)
        room = node("c", is_on=False, free_bytes=5, total_bytes=5)
        assert chosen(full, small, room, needs_bytes=4) == ("c", "memory")
        assert chosen(full, small, needs_bytes=4) == ("a", "memory")
        assert chosen(small, replace(small, id="d"), needs_bytes=4)[1] == "memory"


class TestWarm:
    def test_the_warmest(self) -> None:
        nodes = [node("a"), node("b", 1), node("c", 2)]
        assert chosen(*nodes, shares={"b": 0.5, "c": 0.9}) == ("c", "prefix")
        assert chosen(*nodes, shares={"b": 0.9, "c": 0.9}) == ("b", "prefix")

    def test_from_the_threshold_on(self) -> None:
        nodes = [node("a"), node("b", 1)]
        assert chosen(*nodes, shares={"b": 0.3}) == ("b", "prefix")
        assert chosen(*nodes, shares={"b": 0.29}) == ("a", "least")
        decision = choose(view(*nodes), WANTED, {"b": 0.29}, Rules(affinity=0.2))
        assert decision == Decision("b", Why.PREFIX, 0.29)

    def test_unless_it_is_too_busy(self) -> None:
        """More than 4 requests more, and more than 1.5 times as many: both."""
        shares = {"b": 1.0}
        for least, most, expected in [
            (0, 4, "prefix"),
            (0, 5, "balance"),
            (10, 15, "prefix"),
            (10, 16, "balance"),
        ]:
            nodes = [node("a", least, slots=64), node("b", most, slots=64)]
            assert chosen(*nodes, shares=shares) == ("b" if expected == "prefix" else "a", expected)

    def test_unless_the_wait_costs_more_than_half_of_what_is_saved(self) -> None:
        """One more than there are slots waits 2 s, a quarter of a request; ten blocks take 6 s."""
        seconds: dict[str, Any] = {"request_seconds": {DIGEST: 8.0}, "block_seconds": {DIGEST: 0.6}}
        nodes = [node("a"), node("b", 4, **seconds)]
        keys = (b"",) * 10
        assert chosen(*nodes, shares={"b": 0.7}, keys=keys) == ("b", "prefix")
        assert chosen(*nodes, shares={"b": 0.6}, keys=keys) == ("a", "balance")
        assert chosen(*nodes, shares={"b": 0.7}, keys=keys[:5]) == ("a", "balance")
        decision = choose(view(*nodes), replace(WANTED, keys=keys), {"b": 0.4}, Rules(patience=1))
        assert decision.node == "b"

    def test_what_blocks_cost_is_at_most_the_request(self) -> None:
        """Before it was measured, too."""
        for seconds in ({}, {DIGEST: 100.0}):
            nodes = [node("a"), node("b", 4, request_seconds={DIGEST: 8.0}, block_seconds=seconds)]
            assert chosen(*nodes, shares={"b": 0.5}, keys=(b"",) * 10) == ("b", "prefix")
            assert chosen(*nodes, shares={"b": 0.49}, keys=(b"",) * 10) == ("a", "balance")

    def test_a_single_block_is_not_worth_a_busier_node(self) -> None:
        for count, expected in ((1, ("a", "balance")), (2, ("b", "prefix"))):
            assert chosen(node("a"), node("b", 1), shares={"b": 1.0}, keys=(b"",) * count) == expected
        assert chosen(node("a", 1), node("b", 1), shares={"b": 1.0}, keys=(b"",)) == ("b", "prefix")

    def test_the_next_warm_one_if_the_warmest_is_too_busy(self) -> None:
        nodes = [node("a"), node("b", 1), node("c", 30)]
        assert chosen(*nodes, shares={"b": 0.5, "c": 0.9}) == ("b", "prefix")

    def test_a_session_is_as_good_as_a_warm_prompt(self) -> None:
        nodes = [node("a"), node("b", 1), node("c", 30)]
        assert chosen(*nodes, pinned="b", shares={"a": 0.9}) == ("b", "session")
        assert chosen(*nodes, pinned="b", keys=()) == ("b", "session")
        assert chosen(*nodes, pinned="c") == ("a", "balance")
        assert chosen(*nodes, pinned="gone") == ("a", "least")

    def test_warm_but_not_loaded_is_not_warm(self) -> None:
        nodes = [node("a", 1), node("b", is_on=False)]
        assert chosen(*nodes, shares={"b": 0.9}, pinned="b") == ("a", "loaded")


class TestLeast:
    def test_the_shortest_queue(self) -> None:
        assert chosen(node("a", 4, 1), node("b", 4)) == ("b", "least")

    def test_a_free_slot_on_the_node_that_does_least_besides(self) -> None:
        other = {OTHER: LoadedModel(OTHER, 4, 3)}
        first = node("a", 1)
        first = replace(first, loaded={**first.loaded, **other})
        assert chosen(first, node("b", 3)) == ("b", "least")

    def test_what_was_sent_since_counts(self) -> None:
        """The node said 2 when we had sent 2; now we have sent 5."""
        first = node("a", 2, sent={DIGEST: 5}, sent_then={DIGEST: 2})
        assert chosen(first, node("b", 4)) == ("b", "least")

    def test_what_ended_since_counts(self) -> None:
        first = node("a", 4, sent={DIGEST: 0}, sent_then={DIGEST: 4})
        assert chosen(first, node("b", 1)) == ("a", "least")

    def test_equal_nodes_get_equal_parts(self) -> None:
        """And those with more free memory more: they win each draw in which they are."""
        nodes = [node(name, free_bytes=5) for name in "abcd"]
        parts = [chosen(*nodes, seed=seed)[0] for seed in range(1000)]
        assert set(parts) >= {"b", "c", "d"}
        nodes[0] = node("a", free_bytes=6)
        parts = [chosen(*nodes, seed=seed)[0] for seed in range(1000)]
        assert 400 < parts.count("a") < 600


names = st.sampled_from("abcd")


@st.composite
def node_views(draw: st.DrawFn) -> NodeView:
    def loaded(digest: str) -> LoadedModel:
        running, waiting = draw(st.integers(0, 20)), draw(st.integers(0, 20))
        return LoadedModel(digest, draw(st.integers(1, 8)), running, waiting, is_loading=draw(st.booleans()))

    digests = draw(st.sampled_from([(), (DIGEST,), (DIGEST,), (OTHER,), (DIGEST, OTHER)]))
    counts = st.sampled_from([{}, {DIGEST: 1}, {DIGEST: 7, OTHER: 2}, {OTHER: 30}])
    seconds = st.sampled_from([{}, {DIGEST: 0.0}, {DIGEST: 2.5, OTHER: 60.0}, {DIGEST: 100.0}])
    return NodeView(
        draw(names),
        health=draw(st.sampled_from([Health.ALIVE, Health.ALIVE, Health.ALIVE, *Health])),
        is_draining=draw(st.integers(0, 5)) == 0,
        is_open=draw(st.integers(0, 5)) == 0,
        models=draw(st.sampled_from([{MODEL: DIGEST}, {MODEL: DIGEST}, {MODEL: OTHER}, {}])),
        loaded={digest: loaded(digest) for digest in digests},
        sent=draw(counts),
        sent_then=draw(counts),
        free_bytes=draw(st.integers(0, 100)),
        total_bytes=draw(st.integers(0, 100)),
        load_seconds=draw(seconds),
        request_seconds=draw(seconds),
    )


views = st.lists(node_views(), max_size=4).map(lambda nodes: view(*nodes))
wants = st.builds(
    Wanted,
    st.just(MODEL),
    digest=st.sampled_from(("", DIGEST)),
    needs_bytes=st.integers(0, 100),
    tried=st.frozensets(names, max_size=2),
    seed=st.integers(0, 2**64),
)
all_shares = st.dictionaries(names, st.floats(0, 1))
pins = st.sampled_from(["", *"abcd"])


@given(views, wants, all_shares, pins)
def test_whoever_is_chosen_can_take_it(
    view: View, wanted: Wanted, shares: dict[str, float], pinned: str
) -> None:
    decision = choose(view, wanted, shares, pinned=pinned)
    able = {name for name, node in view.nodes.items() if takes(node, wanted)}
    if able:
        assert decision.node in able
        node = view.nodes[decision.node]
        assert node.health is Health.ALIVE and not node.is_draining and not node.is_open
        assert node.id not in wanted.tried and MODEL in node.models
        assert decision.share == shares.get(decision.node, 0.0)
    else:
        assert decision.node == ""


@given(views, wants, all_shares, pins)
def test_equal_arguments_have_equal_answers(
    view: View, wanted: Wanted, shares: dict[str, float], pinned: str
) -> None:
    assert choose(view, wanted, shares, pinned=pinned) == choose(view, wanted, shares, pinned=pinned)
    holding = Holding()
    for node in view.nodes.values():
        holding.changed(NodeView(node.id), node)
    indexed = replace(view, models=holding.models)
    assert choose(indexed, wanted, shares, pinned=pinned) == choose(view, wanted, shares, pinned=pinned)


@given(views, wants, all_shares, pins)
def test_a_loaded_node_is_passed_over_only_for_a_quicker_load(
    view: View, wanted: Wanted, shares: dict[str, float], pinned: str
) -> None:
    decision = choose(view, wanted, shares, pinned=pinned)
    loads = {
        name: load_of(node, node.models[MODEL], wanted.needs_bytes)
        for name, node in view.nodes.items()
        if takes(node, wanted)
    }
    waits = [load.wait_s for load in loads.values() if load.is_on]
    if waits and not loads[decision.node].is_on:
        node = view.nodes[decision.node]
        assert min(waits) > load_seconds(node, node.models[MODEL], wanted.needs_bytes)


@given(views, wants, all_shares, pins)
def test_no_warmth_is_worth_a_long_queue(
    view: View, wanted: Wanted, shares: dict[str, float], pinned: str
) -> None:
    """The guards hold whatever the shares are."""
    decision = choose(view, wanted, shares, pinned=pinned)
    if decision.why not in (Why.PREFIX, Why.SESSION):
        return
    loads = {
        name: load_of(node, node.models[MODEL], wanted.needs_bytes)
        for name, node in view.nodes.items()
        if takes(node, wanted)
    }
    mine = loads[decision.node]
    pool = [load for load in loads.values() if load.is_on is mine.is_on]
    least = min(load.busy for load in pool)
    assert mine.busy - least <= DEFAULT.imbalance_abs or mine.busy <= DEFAULT.imbalance_rel * least
    assert mine.wait_s - min(load.wait_s for load in pool) <= mine.request_s * DEFAULT.patience


@given(views, wants)
def test_with_nothing_warm_nobody_waits_while_a_slot_is_free(view: View, wanted: Wanted) -> None:
    decision = choose(view, wanted, {})
    if decision.node and is_free(view, wanted):
        node = view.nodes[decision.node]
        load = load_of(node, node.models[MODEL], wanted.needs_bytes)
        loaded = [
            load_of(other, other.models[MODEL], wanted.needs_bytes)
            for other in view.nodes.values()
            if takes(other, wanted)
        ]
        if any(other.is_on and other.wait_s == 0 for other in loaded):
            assert load.wait_s == 0
