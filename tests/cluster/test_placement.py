"""Which node loads and unloads what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.placement import Load, Plan, Unload, Unplaced, leader, plan
from corral.cluster.replicas import Managed, Placement, Replicas
from corral.cluster.view import Health, LoadedModel, NodeView, View

MODEL, DIGEST = "m:latest", "sha256:1"
MANAGED = Managed(MODEL, DIGEST, Replicas(max=9), 10)
PACKED = replace(MANAGED, replicas=Replicas(max=9, placement=Placement.PACK))


def node(name: str, free: int, running: int | None = None, **fields: Any) -> NodeView:
    """`running`: None if the model is not loaded."""
    loaded = {} if running is None else {DIGEST: LoadedModel(DIGEST, running=running, memory_bytes=10)}
    made = NodeView(name, models={MODEL: DIGEST}, loaded=loaded, free_bytes=free, total_bytes=100)
    return replace(made, **fields)


def view(*nodes: NodeView) -> View:
    return View({node.id: node for node in nodes})


def loads(found: Plan) -> list[str]:
    return [load.node for load in found.loads]


def unloads(found: Plan) -> list[str]:
    return [unload.node for unload in found.unloads]


def test_spread_or_packed() -> None:
    nodes = view(node("a", 20), node("b", 50), node("c", 9), node("d", 30))
    assert loads(plan(nodes, [MANAGED], {MODEL: 2})) == ["b", "d"]
    assert loads(plan(nodes, [PACKED], {MODEL: 2})) == ["a", "d"]


def test_models_of_one_plan_do_not_count_the_same_memory() -> None:
    other = Managed("n", "sha256:2", Replicas(max=1), 15)
    found = plan(view(node("a", 20)), [MANAGED, other], {MODEL: 1, "n": 1})
    assert found.loads == (Load(MODEL, DIGEST, "a"),)
    assert found.unplaced == (Unplaced("n", 15, "a", 100),)
    assert found.unplaced[0].fits()


def test_nodes_with_the_files_first_and_those_without_fetch_them() -> None:
    nodes = view(node("a", 99, models={}), node("b", 10), node("c", 50, models={MODEL: "sha256:old"}))
    assert plan(nodes, [MANAGED], {MODEL: 3}).loads == (
        Load(MODEL, DIGEST, "b"),
        Load(MODEL, DIGEST, "a", has_weights=False),
        Load(MODEL, DIGEST, "c", has_weights=False),
    )


def test_what_is_loaded_or_under_way_is_not_loaded_again() -> None:
    nodes = view(node("a", 50, 1), node("b", 50), node("c", 40))
    assert loads(plan(nodes, [MANAGED], {MODEL: 3}, pending=[("b", DIGEST)])) == ["c"]
    assert plan(nodes, [MANAGED], {MODEL: 1}) == Plan()


def test_surplus_goes_where_it_is_idle() -> None:
    nodes = view(node("a", 5, 0), node("b", 50, 0), node("c", 1, 1), node("d", 30, 0))
    assert unloads(plan(nodes, [MANAGED], {MODEL: 2})) == ["a", "d"]
    assert unloads(plan(nodes, [PACKED], {MODEL: 2})) == ["b", "d"]
    assert unloads(plan(nodes, [MANAGED], {MODEL: 0})) == ["a", "d", "b"]
    sent = view(*(replace(one, sent={DIGEST: 1}) for one in nodes.nodes.values()))
    assert plan(sent, [MANAGED], {MODEL: 0}) == Plan()


def test_nothing_goes_to_nodes_that_are_not_well() -> None:
    nodes = view(
        node("a", 50, health=Health.SUSPECT), node("b", 50, is_open=True), node("c", 50, is_draining=True)
    )
    assert plan(nodes, [MANAGED], {MODEL: 1}) == Plan()


def test_a_draining_node_is_left_once_the_model_is_elsewhere() -> None:
    leaving = node("a", 50, 0, is_draining=True)
    unnamed = replace(leaving, id="b", models={})
    other = node("c", 50)
    found = plan(view(leaving, unnamed, other), [], {})
    assert found == Plan(loads=(Load(MODEL, DIGEST, "c"),))
    loading = replace(other, loaded={DIGEST: LoadedModel(DIGEST, is_loading=True)})
    assert plan(view(leaving, loading), [], {}) == Plan()
    ready = node("c", 50, 0)
    assert plan(view(leaving, ready), [], {}) == Plan(unloads=(Unload(MODEL, DIGEST, "a"),))
    busy = node("a", 50, 1, is_draining=True)
    assert plan(view(busy, ready), [], {}) == Plan()


def test_a_draining_node_stays_if_nobody_has_room() -> None:
    found = plan(view(node("a", 50, 0, is_draining=True), node("b", 9)), [], {})
    assert found == Plan(unplaced=(Unplaced(MODEL, 10, "b", 100),))


def test_a_model_too_large_for_every_node() -> None:
    large = replace(MANAGED, needs_bytes=200)
    found = plan(view(node("a", 50), node("b", 50, total_bytes=150)), [large], {MODEL: 1})
    assert found.unplaced == (Unplaced(MODEL, 200, "b", 150),)
    assert not found.unplaced[0].fits()
    assert plan(view(), [large], {MODEL: 1}) == Plan()


def test_the_first_that_is_alive_plans() -> None:
    assert leader(view(node("b", 0), node("a", 0, health=Health.SUSPECT), node("c", 0))) == "b"
    assert leader(view()) == ""


models = st.builds(
    Managed,
    st.sampled_from(["m", "n"]),
    st.sampled_from(["sha256:1", "sha256:2"]),
    st.builds(Replicas, max=st.just(9), placement=st.sampled_from(list(Placement))),
    st.integers(0, 60),
)
nodes = st.builds(
    node,
    st.sampled_from("abcde"),
    st.integers(0, 100),
    st.sampled_from([None, None, 0, 2]),
    health=st.sampled_from([Health.ALIVE, Health.ALIVE, Health.SUSPECT]),
    is_draining=st.booleans(),
    models=st.sampled_from([{"m": "sha256:1"}, {"m": "sha256:1", "n": "sha256:2"}, {}]),
)


@given(
    st.lists(nodes, max_size=5),
    st.lists(models, max_size=2, unique_by=lambda model: model.digest),
    st.dictionaries(st.sampled_from(["m", "n"]), st.integers(0, 5)),
)
def test_a_plan_keeps_to_what_is_there(
    given_nodes: list[NodeView], managed: list[Managed], wanted: dict[str, int]
) -> None:
    """Memory is not promised twice, only nodes that are well load, and nothing that works is unloaded."""
    seen = view(*given_nodes)
    found = plan(seen, managed, wanted)
    needs = {model.digest: model.needs_bytes for model in managed}
    taken: dict[str, int] = {}
    for load in found.loads:
        target = seen.nodes[load.node]
        assert target.is_usable() and load.digest not in target.loaded
        taken[load.node] = taken.get(load.node, 0) + needs.get(load.digest, 10)
        assert load.has_weights is (target.models.get(load.model) == load.digest)
    assert all(count <= seen.nodes[name].free_bytes for name, count in taken.items())
    assert len({(load.node, load.digest) for load in found.loads}) == len(found.loads)
    for unload in found.unloads:
        assert seen.nodes[unload.node].loaded[unload.digest].running == 0
    assert found == plan(seen, managed, wanted)
