"""How many nodes should have a model in memory: from what was asked of it, without I/O and without a clock.

The average of requests under way, over the slots of one node, is what is wanted. Requests that wait for two seconds
are answered with one more at once; a smaller number has to be enough for five minutes before it counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, exp

from corral.cluster.load import busy
from corral.cluster.view import NodeView, View

# The average follows a change to two thirds in this time.
AVERAGE_S = 10.0
UP_AFTER_S = 2.0
DOWN_AFTER_S = 300.0


class Placement(StrEnum):
    """`SPREAD`: where most memory is free. `PACK`: where least is, as long as it fits."""

    SPREAD = "spread"
    PACK = "pack"


@dataclass(frozen=True, slots=True)
class Replicas:
    """What a person wants for a model.

    Attributes:
        min: so many nodes always have it in memory.
        max: never more than so many by this plan; a node still loads what a request needs.
        prewarm: so many have it before anybody asks, if the last day has shown the need, or shows nothing yet.
    """

    min: int = 0
    max: int = 1
    prewarm: int = 0
    placement: Placement = Placement.SPREAD


@dataclass(frozen=True, slots=True)
class Managed:
    """A model that has rules. `needs_bytes`: of memory; 0 if it is not known."""

    model: str
    digest: str
    replicas: Replicas
    needs_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests of a model at all nodes at one moment. `slots`: of one node. `on`: nodes that have it in memory."""

    running: int = 0
    waiting: int = 0
    slots: int = 1
    on: int = 0


@dataclass(slots=True)
class _History:
    """`highest`: when which number was wanted in the last minutes; only those that are higher than all later ones."""

    average: float = 0.0
    at_s: float | None = None
    waiting_since_s: float | None = None
    highest: deque[tuple[float, int]] = field(default_factory=deque)


class Scaler:
    """Wanted numbers of replicas, for models with rules."""

    def __init__(self) -> None:
        self._histories: dict[str, _History] = {}

    def wanted(
        self, view: View, managed: Sequence[Managed], now: float, *, daily: Mapping[str, float] | None = None
    ) -> dict[str, int]:
        """How many nodes should have each model in memory, by its full name.

        Args:
            managed: one for each model; what is remembered of others is dropped.
            daily: by model, the most requests under way at a time, averaged over an hour, of the last 24 hours; a
                model that is missing has no history.
        """
        kept = {model.model: self._histories.get(model.model, _History()) for model in managed}
        self._histories = kept
        return {
            model.model: self._number(
                model, demand_of(view, model.digest), now, None if daily is None else daily.get(model.model)
            )
            for model in managed
        }

    def _number(self, model: Managed, demand: Demand, now: float, busiest: float | None) -> int:
        rules, history = model.replicas, self._histories[model.model]
        number = max(_held(history, _asked_for(history, demand, now), now), rules.min)
        early = rules.prewarm if busiest is None else min(rules.prewarm, ceil(busiest / demand.slots))
        return min(max(number, early), max(rules.max, rules.min))


def demand_of(view: View, digest: str) -> Demand:
    """What is asked of a model now. Requests at nodes that drain count: they show what is needed."""
    running = waiting = on = 0
    slots: list[int] = []
    for node in view.nodes.values():
        count, loaded = busy(node, digest), node.loaded.get(digest)
        here = max(1, loaded.slots) if loaded else 1
        running += min(count, here)
        waiting += max(0, count - here)
        if loaded:
            slots.append(here)
        on += _counts(node, digest)
    return Demand(running, waiting, max(slots, default=1), on)


def _counts(node: NodeView, digest: str) -> bool:
    return node.is_usable() and digest in node.loaded


def _asked_for(history: _History, demand: Demand, now: float) -> int:
    """The number for this moment."""
    count = demand.running + demand.waiting
    if history.at_s is None:
        history.average = float(count)
    else:
        newest = 1 - exp(-max(0.0, now - history.at_s) / AVERAGE_S)
        history.average += newest * (count - history.average)
    history.at_s = now
    # Of an average that only approaches nothing, the last hundredth is nothing.
    number = ceil(history.average / demand.slots - 0.01)
    if not demand.waiting:
        history.waiting_since_s = None
        return number
    if history.waiting_since_s is None:
        history.waiting_since_s = now
    if now - history.waiting_since_s < UP_AFTER_S:
        return number
    return max(number, demand.on + 1)


def _held(history: _History, number: int, now: float) -> int:
    """The highest number of the last minutes."""
    while history.highest and history.highest[-1][1] <= number:
        history.highest.pop()
    history.highest.append((now, number))
    while history.highest[0][0] < now - DOWN_AFTER_S:
        history.highest.popleft()
    return history.highest[0][1]
