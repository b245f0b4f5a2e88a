"""The directory without Ray: its methods, on an event loop of the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, replace
from typing import Any

import pytest

from corral.cluster.ray import directory, table
from corral.cluster.ray.directory import Directory, EveryNode
from tests.cluster.ray.test_table import A, B
from tests.waiting import PATIENCE_S

Nodes = dict[str, dict[str, float]]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """What Ray says of its nodes."""
    found: Nodes = {"ray-1": {}, "ray-2": {}}
    monkeypatch.setattr(directory, "_ray_nodes", lambda: dict(found))
    monkeypatch.setattr(directory, "_LOOK_S", 0.01)
    return found


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():
        await asyncio.sleep(0.01)


def test_a_reader_waits_for_a_change(nodes: Nodes) -> None:
    async def main() -> None:
        actor = Directory()
        first = await actor.changes()
        waiting = asyncio.create_task(actor.changes(first["incarnation"], first["version"], PATIENCE_S))
        await asyncio.sleep(0)
        assert not await actor.report(asdict(A))
        second = await waiting
        assert second["nodes"] == [asdict(A)] and second["version"] > first["version"]

    run(main)


def test_many_readers_wake_at_once(nodes: Nodes) -> None:
    async def main() -> None:
        actor = Directory()
        now = await actor.changes()
        waiting = [
            asyncio.create_task(actor.changes(now["incarnation"], now["version"], PATIENCE_S))
            for _ in range(50)
        ]
        await asyncio.sleep(0)
        await actor.report(asdict(B))
        assert all(found["nodes"] == [asdict(B)] for found in await asyncio.gather(*waiting))

    run(main)


def test_without_a_change_the_time_ends_the_wait(nodes: Nodes) -> None:
    async def main() -> None:
        actor = Directory()
        now = await actor.changes()
        again = await actor.changes(now["incarnation"], now["version"], 0.01)
        assert again["version"] == now["version"]

    run(main)


def test_another_incarnation_answers_at_once(nodes: Nodes) -> None:
    """Versions begin again with it, and may be equal by chance."""

    async def main() -> None:
        before, after = Directory(), Directory()
        now = await before.changes()
        assert (await after.changes(now["incarnation"], now["version"], PATIENCE_S))["version"] == now[
            "version"
        ]

    run(main)


def test_a_lost_ray_node_takes_its_server_along(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LINGER_S", 0.0)

    async def main() -> None:
        actor = Directory()
        await actor.report(asdict(A))
        await actor.report(asdict(B))
        del nodes["ray-2"]

        async def is_gone() -> bool:
            found: list[dict[str, Any]] = (await actor.changes())["nodes"]
            return found == [asdict(A)]

        await until(is_gone)

    run(main)


def test_a_ray_that_does_not_answer_changes_nothing(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail() -> Nodes:
        asked.append(1)
        raise ConnectionError("the head is away")

    async def main() -> None:
        monkeypatch.setattr(directory, "_ray_nodes", fail)
        actor = Directory()
        await actor.report(asdict(A))

        async def was_asked() -> bool:
            return len(asked) > 3

        await until(was_asked)
        assert (await actor.changes())["nodes"] == [asdict(A)]

    run(main)


def test_a_second_node_with_a_name_is_refused(nodes: Nodes) -> None:
    async def main() -> None:
        actor = Directory()
        await actor.report(asdict(A))
        assert "is called a" in await actor.report(asdict(replace(A, ray_node="ray-2")))
        assert await actor.report({"name": 1}) == "a row that cannot be read"

    run(main)


def test_nodes_that_offer_memory_get_a_supervisor_each(nodes: Nodes) -> None:
    """Those that Corral has started Ray on have one already, and so have those in the table."""
    placed: list[str] = []
    nodes.update(
        {
            "ray-1": {"corral_ram_gb": 8.0},
            "ray-3": {"corral_ram_gb": 8.0, "corral_node:c": 1.0},
            "ray-4": {"CPU": 4.0},
            "ray-5": {"corral_ram_gb": 8.0},
        }
    )

    async def main() -> None:
        woken = threading.Event()
        actor = Directory(EveryNode(placed.append, woken.set))
        assert await asyncio.to_thread(woken.wait, PATIENCE_S) and await actor.is_everywhere()
        await actor.report(asdict(A))

        async def was_placed() -> bool:
            return bool(placed)

        await until(was_placed)
        for _ in range(5):
            await actor._look(nodes)
        assert placed == ["ray-5"], "once, until it is time to try again"
        actor._tries["ray-5"] = (0.0, actor._tries["ray-5"][1])
        await actor._look(nodes)
        assert placed == ["ray-5", "ray-5"]
        await actor.report(asdict(replace(B, ray_node="ray-5")))
        await actor._look(nodes)
        assert not actor._tries

    run(main)
