"""The plan carried out: on nodes that are values, with hands that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from corral.cluster.managed import managed_models
from corral.cluster.placement import Unplaced
from corral.cluster.replicas import Managed, Placement, Replicas
from corral.cluster.replicator import KEEP_ALIVE_S, Replicator, unplaced_text
from corral.cluster.view import Health, LoadedModel, NodeView, View
from corral.configfile.rules import ModelRules
from corral.configfile.sections import ModelSection, ReplicaRule, Sections
from corral.errors import CorralError, RegistryUnavailableError
from corral.names import ModelName

if TYPE_CHECKING:
    import pytest

M = ModelName.parse("m").full()
N = ModelName.parse("n").full()
D, E, OTHER = ("d" * 64, "e" * 64, "0" * 64)
GB = 10**9


class World:
    """Nodes, and hands that change them at once unless `gate` is given."""

    def __init__(self, *names: str, holders: str = "", model: str = M, digest: str = D) -> None:
        self.nodes = {
            name: NodeView(
                name,
                free_bytes=8 * GB,
                total_bytes=8 * GB,
                models={model: digest} if name in holders else {},
            )
            for name in names
        }
        self.done: list[tuple[str, str, str]] = []
        self.error: Callable[[str, str, str], CorralError | None] = lambda *_: None
        self.gate: asyncio.Event | None = None
        self.digests = {M: D, N: E}
        self.now_s = 1000.0

    def change(self, name: str, **fields: object) -> None:
        self.nodes[name] = replace(self.nodes[name], **fields)  # type: ignore[arg-type]

    def view(self) -> View:
        return View(dict(self.nodes))

    async def _do(self, what: str, node: str, model: str) -> None:
        self.done.append((what, node, model))
        if self.gate is not None:
            await self.gate.wait()
        if (error := self.error(what, node, model)) is not None:
            raise error

    async def fetch(self, node: str, model: str) -> None:
        await self._do("fetch", node, model)
        self.change(node, models={**self.nodes[node].models, model: self.digests[model]})

    async def load(self, node: str, model: str, keep_alive_s: int) -> None:
        assert keep_alive_s == KEEP_ALIVE_S
        await self._do("load", node, model)
        known = self.nodes[node]
        digest = known.models[model]
        loaded = known.loaded.get(digest, LoadedModel(digest, memory_bytes=3 * GB))
        self.change(node, loaded={**known.loaded, digest: loaded}, free_bytes=8 * GB - 3 * GB)

    async def unload(self, node: str, model: str) -> None:
        await self._do("unload", node, model)
        known = self.nodes[node]
        left = {d: loaded for d, loaded in known.loaded.items() if d != known.models[model]}
        self.change(node, loaded=left, free_bytes=8 * GB)

    def replicator(self, me: str, replicas: Replicas | None = None) -> Replicator:
        def managed(_view: View) -> list[Managed]:
            return [Managed(M, D, replicas, 3 * GB)] if replicas is not None else []

        return Replicator(me, self.view, managed, self, now_s=lambda: self.now_s, wall_s=lambda: self.now_s)

    def on(self, digest: str = D) -> set[str]:
        return {name for name, node in self.nodes.items() if digest in node.loaded}


async def turn(*replicators: Replicator) -> None:
    """One look of each, and all that follows at once."""
    for each in replicators:
        each.step()
    for _ in range(20):
        await asyncio.sleep(0)


def play(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_weights_first_then_memory() -> None:
    """Two replicas: the node that has the model loads it, another fetches it before."""
    world = World("a", "b", "c", holders="b")

    async def work() -> None:
        one = world.replicator("a", Replicas(min=2, max=2))
        await turn(one)
        await turn(one)
        assert world.done[0] == ("load", "b", M)
        (fetched,) = [node for what, node, _ in world.done if what == "fetch"]
        assert world.done.index(("fetch", fetched, M)) < world.done.index(("load", fetched, M))
        assert world.on() == {"b", fetched}
        assert len(world.done) == 3

    play(work)


def test_only_the_leader_acts() -> None:
    """The first by name of those that are alive; the next one when it is gone; and no harm when both do."""
    world = World("a", "b", "c", holders="abc")

    async def work() -> None:
        rules = Replicas(min=1, max=3)
        first, second = world.replicator("a", rules), world.replicator("b", rules)
        await turn(second, first)
        assert (first.is_leading, second.is_leading) == (True, False)
        assert len(world.done) == 1
        lost = next(iter(world.on()))
        world.change("a", health=Health.GONE)
        world.change(lost, health=Health.GONE)
        (leader,) = [
            each for name, each in (("b", second), ("c", world.replicator("c", rules))) if name != lost
        ][:1]
        await turn(leader)
        assert leader.is_leading
        assert len(world.on() - {lost}) == 1

    play(work)


def test_a_load_under_way_is_not_begun_again() -> None:
    """However long it takes, and until its node has said that it has the model."""
    world = World("a", "b", holders="ab")
    world.gate = asyncio.Event()

    async def work() -> None:
        one = world.replicator("a", Replicas(min=1, max=1))
        for _ in range(5):
            world.now_s += 100
            await turn(one)
        assert len(world.done) == 1
        assert world.gate is not None
        world.gate.set()
        await turn(one)
        assert len(world.done) == 1

    play(work)


def test_a_failure_is_tried_elsewhere_and_later_again() -> None:
    world = World("a", "b", holders="ab")
    world.change("b", free_bytes=9 * GB)
    world.error = lambda what, node, _model: RegistryUnavailableError("it is broken") if node == "b" else None

    async def work() -> None:
        one = world.replicator("a", Replicas(min=2, max=2))
        for _ in range(5):
            await turn(one)
        assert world.done == [("load", "b", M), ("load", "a", M)]
        assert one.problems == {("b", D): "m:latest on b: it is broken"}
        world.now_s += 16
        await turn(one)
        assert [entry for entry in world.done if entry[1] == "b"] == [("load", "b", M)] * 2
        world.now_s += 16
        await turn(one)
        assert [entry for entry in world.done if entry[1] == "b"] == [("load", "b", M)] * 2
        world.error = lambda *_: None
        world.now_s += 16
        await turn(one)
        assert world.on() == {"a", "b"}
        assert one.problems == {}

    play(work)


def test_what_another_node_has_is_not_overwritten() -> None:
    """A node with something else under the name gets no replica."""
    world = World("a", "b", "c", holders="ab")
    world.change("c", models={M: OTHER})

    async def work() -> None:
        one = world.replicator("a", Replicas(min=3, max=3))
        for _ in range(3):
            await turn(one)
        assert world.on() == {"a", "b"}
        assert not [entry for entry in world.done if entry[1] == "c"]

    play(work)


def test_up_when_requests_wait_and_down_when_they_are_gone() -> None:
    world = World("a", "b", holders="ab")

    async def work() -> None:
        one = world.replicator("a", Replicas(min=1, max=2))
        await turn(one)
        (first,) = world.on()
        busy = LoadedModel(D, slots=1, running=1, waiting=2, memory_bytes=3 * GB)
        for _ in range(4):
            world.change(first, loaded={D: busy})
            await turn(one)
            world.now_s += 1
        assert world.on() == {"a", "b"}
        for name in "ab":
            world.change(name, loaded={D: LoadedModel(D, memory_bytes=3 * GB)})
        for _ in range(8):
            world.now_s += 60
            await turn(one)
        assert len(world.on()) == 1

    play(work)


def test_what_is_wanted_is_reminded_of() -> None:
    """Each minute, but not while it works."""
    world = World("a", holders="a")

    async def work() -> None:
        one = world.replicator("a", Replicas(min=1, max=1))
        for _ in range(125):
            world.now_s += 1
            await turn(one)
        assert world.done == [("load", "a", M)] * 3
        world.change("a", loaded={D: LoadedModel(D, running=1)})
        for _ in range(200):
            world.now_s += 1
            await turn(one)
        assert len(world.done) == 3

    play(work)


def test_models_move_off_a_draining_node() -> None:
    """Also one without rules: first it is somewhere else, then it leaves; requests that run there end first."""
    world = World("a", "b", holders="b")
    running = LoadedModel(D, running=1, memory_bytes=3 * GB)
    world.change("b", loaded={D: running}, is_draining=True)

    async def work() -> None:
        one = world.replicator("a")
        await turn(one)
        assert world.done == [("fetch", "a", M), ("load", "a", M)]
        await turn(one)
        assert world.on() == {"a", "b"}
        world.change("b", loaded={D: replace(running, running=0)})
        await turn(one)
        assert world.on() == {"a"}

    play(work)


def test_a_model_that_fits_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Said once, with the node that comes nearest."""
    world = World("a", "b", holders="ab")
    world.change("b", free_bytes=1 * GB, total_bytes=2 * GB)
    world.change("a", free_bytes=1 * GB, total_bytes=2 * GB + 1)

    async def work() -> None:
        one = world.replicator("a", Replicas(min=1, max=1))
        for _ in range(3):
            await turn(one)
        assert world.done == []

    play(work)
    (record,) = [record for record in caplog.records if "too large" in record.getMessage()]
    assert (
        "needs 3.0 GB, and the largest, a, has 2.0 GB; a model has to fit on one machine"
        in record.getMessage()
    )
    assert "would fit it if less was loaded" in unplaced_text(Unplaced(M, 3 * GB, "a", 4 * GB))


def test_stopping_ends_what_is_under_way() -> None:
    world = World("a", "b", holders="ab")
    world.gate = asyncio.Event()

    async def work() -> None:
        one = world.replicator("b", Replicas(min=1, max=1))
        world.change("a", health=Health.SUSPECT)
        task = asyncio.ensure_future(one.run())
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(world.done) == 1
        task.cancel()
        await asyncio.wait({task})
        for _ in range(5):
            await asyncio.sleep(0)
        assert world.on() == set()

    play(work)


def test_which_models_have_rules() -> None:
    """By patterns; of two names of one model the first; with the agreed manifest, and memory as it was measured."""
    sections = Sections(
        models=(
            ModelSection("m*", replicas=ReplicaRule(1, 3, 2), placement="pack"),
            ModelSection("n", defaults={"num_ctx": 5}),
        )
    )
    world = World("a", "b", holders="ab")
    world.change("a", models={M: D, ModelName.parse("my").full(): D, N: E})
    rules = ModelRules(sections)
    (found,) = managed_models(world.view(), rules, lambda name: 2 * GB if name.model == "m" else 0)
    assert found == Managed(M, D, Replicas(1, 3, 2, Placement.PACK), int(2 * GB * 1.15))
    world.change("a", loaded={D: LoadedModel(D, memory_bytes=5 * GB)})
    (found,) = managed_models(world.view(), rules, lambda _name: 2 * GB)
    assert found.needs_bytes == 5 * GB
    assert managed_models(world.view(), ModelRules(), lambda _name: 0) == []
