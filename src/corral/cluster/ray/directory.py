"""The actor that holds the table of servers. There is one in a Ray cluster, on its head; Ray starts it again.

Its memory is gone then, and comes back from the supervisors, which report again and again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from corral.cluster.ray.backoff import Backoff
from corral.cluster.ray.library import NAMESPACE
from corral.cluster.ray.table import Table, row_of

NAME = "directory"
HEAD_RESOURCE = "node:__internal_head__"
RAM_RESOURCE = "corral_ram_gb"
_LOOK_S = 1.0
_log = logging.getLogger("corral")


@dataclass(frozen=True, slots=True)
class EveryNode:
    """Start servers on all Ray nodes that offer `corral_ram_gb`, those of the future too.

    `place` starts a supervisor on the node with an id, unless it has one; it raises whatever Ray does. `wake` calls a
    method of the directory, from a thread of its own: a new one begins with the first call, and there may be nobody
    who calls.
    """

    place: Callable[[str], None]
    wake: Callable[[], None]


class Directory:
    """Runs in a Ray actor, on its event loop; every method but `__init__` may be called from anywhere."""

    def __init__(self, every_node: EveryNode | None = None) -> None:
        self._table = Table(time.monotonic())
        self._incarnation = uuid4().hex
        self._every_node = every_node
        self._alive: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        # When to try nodes again that have no server although they should, by their ids.
        self._tries: dict[str, tuple[float, Backoff]] = {}
        if every_node is not None:
            threading.Thread(target=every_node.wake, daemon=True).start()

    async def is_everywhere(self) -> bool:
        """Whether it starts servers itself."""
        return self._every_node is not None

    async def report(self, values: dict[str, Any]) -> str:
        """A supervisor says how its server is; why the table does not take it, or nothing."""
        await self._begin()
        row = row_of(values)
        if row is None:
            return "a row that cannot be read"
        if row.ray_node not in self._alive:
            self._alive |= {row.ray_node}  # it has come since the last look
        before = self._table.version
        refused = self._table.report(row, self._alive)
        self._tell(before)
        return refused

    async def forget(self, name: str) -> bool:
        """Take a server out, because it leaves."""
        before = self._table.version
        was_known = self._table.forget(name)
        self._tell(before)
        return was_known

    async def changes(self, incarnation: str = "", version: int = -1, limit_s: float = 0.0) -> dict[str, Any]:
        """The table, as soon as it differs from what the caller has, or when the time is up."""
        await self._begin()
        deadline_s = time.monotonic() + limit_s
        while (incarnation, version) == (self._incarnation, self._table.version):
            rest_s = deadline_s - time.monotonic()
            if rest_s <= 0:
                break
            changed = self._changed
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), rest_s)
        return {"incarnation": self._incarnation, **self._table.content(time.monotonic())}

    def _tell(self, before: int) -> None:
        if self._table.version != before:
            self._changed.set()
            self._changed = asyncio.Event()

    async def _begin(self) -> None:
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_nodes())

    async def _watch_nodes(self) -> None:
        while True:
            try:
                nodes = await asyncio.to_thread(_ray_nodes)
                await self._look(nodes)
            except Exception:
                # Ray's head is away: what is known stays.
                _log.warning("Ray's nodes are not known", exc_info=True)
            await asyncio.sleep(_LOOK_S)

    async def _look(self, nodes: dict[str, dict[str, float]]) -> None:
        before = self._table.version
        self._alive = frozenset(nodes)
        if lost := self._table.keep(self._alive, time.monotonic()):
            _log.warning("servers are gone with their Ray nodes: %s", ", ".join(lost))
        self._tell(before)
        if self._every_node is not None:
            await self._place(nodes, self._every_node)

    async def _place(self, nodes: dict[str, dict[str, float]], wanted: EveryNode) -> None:
        """Start a supervisor on each node that offers memory and does not have one."""
        missing = [node for node, resources in nodes.items() if self._misses(node, resources)]
        self._tries = {node: self._tries.get(node, (0.0, Backoff(5.0, 300.0))) for node in missing}
        for node, (next_s, backoff) in self._tries.items():
            # One whose supervisor fails, for want of Corral there, is not tried again and again.
            if time.monotonic() >= next_s:
                self._tries[node] = (time.monotonic() + backoff.after(0.0), backoff)
                await asyncio.to_thread(wanted.place, node)

    def _misses(self, node: str, resources: dict[str, float]) -> bool:
        has_own = any(name.startswith("corral_node:") for name in resources)
        return bool(resources.get(RAM_RESOURCE)) and not has_own and not self._table.names_on(node)


def _ray_nodes() -> dict[str, dict[str, float]]:
    """Resources by the ids of the nodes that Ray sees."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def wake() -> None:
    """Call the directory, from inside of it."""
    import ray

    with suppress(Exception):  # whatever Ray raises: the actor ends
        while True:
            try:
                ray.get_actor(NAME, namespace=NAMESPACE).changes.remote()
                return
            except ValueError:
                time.sleep(_LOOK_S)  # Ray does not know yet that it lives


def directory_of(ray: Any, every_node: EveryNode | None = None) -> Any:
    """The directory of the cluster that this process is connected to; it is made if there is none."""
    return (
        ray.remote(Directory)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={HEAD_RESOURCE: 0.001},
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=10_000,
        )
        .remote(every_node)
    )
