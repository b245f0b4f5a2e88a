"""Carries out the plan for replicas: loads models where they are wanted, and moves them away from draining nodes.

Every node of the cluster looks once a second; only the leader acts, the first by name of those that are alive, as
each of them sees it. When two think so for a moment, a model is loaded once more than wanted, and unloaded later.

A step that fails is not tried again on that node for a while. What is wanted is said to its node every minute, so
that it stays: without a leader it goes by itself some minutes later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from corral.cluster.agreement import disagreements
from corral.cluster.demand import DemandFile, HourlyDemand
from corral.cluster.placement import Load, Plan, Unload, Unplaced, leader, plan
from corral.cluster.replicas import Managed, Scaler, demand_of
from corral.cluster.view import View
from corral.errors import CorralError
from corral.names import ModelName

_log = logging.getLogger("corral.cluster")
LOOK_S = 1.0
KEEP_ALIVE_S = 600
_REMIND_S = 60.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 15.0, 600.0
# A load that a node has carried out and does not report within this time has not lasted.
_REPORTED_WITHIN_S = 10.0
_GB = 1e9


class Hands(Protocol):
    """What can be done at a node, by its name. All raise CorralError."""

    async def fetch(self, node: str, model: str) -> None:
        """Bring the weights there."""
        ...

    async def load(self, node: str, model: str, keep_alive_s: int) -> None:
        """Load it, or have it stay loaded."""
        ...

    async def unload(self, node: str, model: str) -> None: ...


class Replicator:
    """Belongs to the event loop. `managed` gives the models with rules; `now_s` and `wall_s` are clocks."""

    def __init__(
        self,
        me: str,
        view: Callable[[], View],
        managed: Callable[[View], Sequence[Managed]],
        hands: Hands,
        file: DemandFile | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._me = me
        self._view = view
        self._managed = managed
        self._hands = hands
        self._file = file
        self._now_s = now_s
        self._wall_s = wall_s
        self._scaler = Scaler()
        self._demand = HourlyDemand()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        # Loads that were carried out, and when, until the node reports them.
        self._carried_out: dict[tuple[str, str], float] = {}
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._reminded: dict[tuple[str, str], float] = {}
        self._said: set[str] = set()
        self.is_leading = False
        # By full name.
        self.wanted: dict[str, int] = {}
        self.digests: dict[str, str] = {}
        # Of the last load of each model on each node.
        self.problems: dict[tuple[str, str], str] = {}

    async def run(self) -> None:
        """Look again and again. Cancelled at the end."""
        if self._file is not None:
            self._demand = await asyncio.to_thread(self._file.load)
        try:
            while True:
                try:
                    self.step()
                except Exception:
                    _log.exception("the plan for replicas failed")
                await self._save()
                await asyncio.sleep(LOOK_S)
        finally:
            self._stop()

    def step(self) -> None:
        """Look once, and begin what is to be done."""
        view, now_s, wall_s = self._view(), self._now_s(), self._wall_s()
        managed = self._managed(view)
        self.digests = {model.model: model.digest for model in managed}
        counts = {model.model: demand_of(view, model.digest) for model in managed}
        self._demand.note({name: found.running + found.waiting for name, found in counts.items()}, wall_s)
        self.wanted = self._scaler.wanted(view, managed, now_s, daily=self._demand.busiest(wall_s))
        if leader(view) != self._me:
            if self.is_leading:
                self._stop()
            self.is_leading = False
            return
        self.is_leading = True
        self._forget_reported(view, now_s)
        refused = {pair for pair, (_, until_s) in self._failures.items() if now_s < until_s}
        refused |= other_holders(view, managed)
        pending = {*self._tasks, *self._carried_out}
        found = plan(view, managed, self.wanted, pending=pending, refused=refused)
        self._carry_out(found, view)
        self._remind(view, managed, found, now_s)
        self._complain(view, found)

    def _carry_out(self, found: Plan, view: View) -> None:
        for load in found.loads:
            self._begin((load.node, load.digest), self._load(load))
        for unload in found.unloads:
            key = (unload.node, unload.digest)
            if key not in self._tasks:
                self._reminded.pop(key, None)
                self._begin(key, self._unload(unload))

    def _begin(self, key: tuple[str, str], work: Coroutine[None, None, None]) -> None:
        task = self._tasks[key] = asyncio.ensure_future(work)
        task.add_done_callback(lambda _done: self._tasks.pop(key, None))

    async def _load(self, load: Load) -> None:
        key, began_s = (load.node, load.digest), self._now_s()
        try:
            if not load.has_weights:
                _log.info("replica model=%s node=%s: fetching its weights", short(load.model), load.node)
                await self._hands.fetch(load.node, load.model)
            await self._hands.load(load.node, load.model, KEEP_ALIVE_S)
        except CorralError as error:
            self._fail(key, load.model, error)
            return
        self._failures.pop(key, None)
        self.problems.pop(key, None)
        self._carried_out[key] = self._reminded[key] = self._now_s()
        seconds = self._now_s() - began_s
        _log.info("replica model=%s node=%s seconds=%.1f", short(load.model), load.node, seconds)

    async def _unload(self, unload: Unload) -> None:
        try:
            await self._hands.unload(unload.node, unload.model)
        except CorralError as error:
            self._fail((unload.node, unload.digest), unload.model, error)
            return
        _log.info("replica model=%s node=%s: unloaded", short(unload.model), unload.node)

    def _fail(self, key: tuple[str, str], model: str, error: CorralError) -> None:
        count = self._failures.get(key, (0, 0.0))[0] + 1
        pause_s = min(_FIRST_PAUSE_S * 2 ** (count - 1), _MAX_PAUSE_S)
        self._failures[key] = (count, self._now_s() + pause_s)
        self.problems[key] = f"{short(model)} on {key[0]}: {error}"
        hint = f"; {error.hint}" if error.hint else ""
        _log.warning(
            "replica model=%s node=%s failed, next in %.0f s: %s%s",
            short(model),
            key[0],
            pause_s,
            error,
            hint,
        )

    def _forget_reported(self, view: View, now_s: float) -> None:
        for key, at_s in list(self._carried_out.items()):
            node = view.nodes.get(key[0])
            if node is None or key[1] in node.loaded or now_s - at_s > _REPORTED_WITHIN_S:
                del self._carried_out[key]
        for key in [key for key in self._failures if key[0] not in view.nodes]:
            del self._failures[key]
            self.problems.pop(key, None)

    def _remind(self, view: View, managed: Sequence[Managed], found: Plan, now_s: float) -> None:
        """Have what is wanted stay where it is."""
        leaving = {(unload.node, unload.digest) for unload in found.unloads}
        kept = set()
        for model in managed:
            if not self.wanted.get(model.model):
                continue
            for node in view.nodes.values():
                key = (node.id, model.digest)
                loaded = node.loaded.get(model.digest)
                if not node.is_usable() or loaded is None or loaded.is_loading or key in leaving:
                    continue
                kept.add(key)
                is_due = now_s - self._reminded.get(key, -_REMIND_S) >= _REMIND_S
                if is_due and key not in self._tasks and not loaded.running:
                    self._reminded[key] = now_s
                    self._begin(key, self._keep(node.id, model.model))
        self._reminded = {key: at_s for key, at_s in self._reminded.items() if key in kept}

    async def _keep(self, node: str, model: str) -> None:
        try:
            await self._hands.load(node, model, KEEP_ALIVE_S)
        except CorralError as error:
            _log.info("replica model=%s node=%s is not kept: %s", short(model), node, error)

    def _complain(self, view: View, found: Plan) -> None:
        """Say once what does not go as it should, and again when it has changed."""
        said = {unplaced_text(each) for each in found.unplaced}
        for each in disagreements(view):
            nodes = "; ".join(
                f"{digest[:12]} on {', '.join(names)}" for digest, names in sorted(each.nodes.items())
            )
            said.add(f"nodes have different models under the name {short(each.model)}: {nodes}")
        for text in sorted(said - self._said):
            _log.warning("%s", text)
        self._said = said

    async def _save(self) -> None:
        now_s = self._wall_s()
        if self._file is not None and self._file.is_due(now_s):
            await asyncio.to_thread(self._file.save, self._demand.encode(), now_s)

    def _stop(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        self._carried_out.clear()
        self._reminded.clear()


def other_holders(view: View, managed: Sequence[Managed]) -> set[tuple[str, str]]:
    """Nodes that have something else under the name of a model, and its digest: a pull would overwrite that."""
    return {
        (node.id, model.digest)
        for model in managed
        for node in view.nodes.values()
        if node.models.get(model.model, model.digest) != model.digest
    }


def unplaced_text(unplaced: Unplaced) -> str:
    """Why a model is not loaded once more, and which node could have it."""
    needs, total = unplaced.needs_bytes / _GB, unplaced.total_bytes / _GB
    if unplaced.fits():
        return (
            f"no node has room for one more of {short(unplaced.model)}: it needs {needs:.1f} GB; {unplaced.node} has "
            f"{total:.1f} GB, and would fit it if less was loaded there"
        )
    return (
        f"{short(unplaced.model)} is too large for every node that is left: it needs {needs:.1f} GB, and the"
        f" largest, {unplaced.node}, has {total:.1f} GB; a model has to fit on one machine"
    )


def short(full_name: str) -> str:
    """The name as people type it."""
    return ModelName.parse(full_name).short()
