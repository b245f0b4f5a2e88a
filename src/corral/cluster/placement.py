"""Which node loads or unloads which model: the steps from what is to what is wanted. A pure function of a view.

Whoever carries the steps out calls again with a newer view; what it has begun and no node has reported yet is
`pending`. Only one node of a cluster does this at a time, see `leader`; if two do for a moment, a model is in memory
once more than wanted until the numbers are looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from corral.cluster.load import busy
from corral.cluster.replicas import Managed, Placement, Replicas
from corral.cluster.view import Health, NodeView, View

_ANYWHERE = Replicas(min=1)


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model, and keep it. `has_weights`: the node has its files; without them it fetches them first."""

    model: str
    digest: str
    node: str
    has_weights: bool = True


@dataclass(frozen=True, slots=True)
class Unload:
    """Free its memory. Nothing of it was under way there when the plan was made."""

    model: str
    digest: str
    node: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """No node has room for one more. `node`: the one with the largest device, of `total_bytes`; empty without any."""

    model: str
    needs_bytes: int
    node: str = ""
    total_bytes: int = 0

    def fits(self) -> bool:
        """Whether it would fit there if nothing else was loaded."""
        return bool(self.node) and self.total_bytes >= self.needs_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """Loads come before unloads, so that what moves is somewhere at any time."""

    loads: tuple[Load, ...] = ()
    unloads: tuple[Unload, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()


@dataclass(slots=True)
class _Draft:
    """The nodes as they would be after the steps so far. `usable`: those that may load."""

    usable: list[NodeView]
    free_bytes: dict[str, int]
    pending: set[tuple[str, str]]
    refused: frozenset[tuple[str, str]] = frozenset()
    loads: list[Load] = field(default_factory=list)
    unloads: list[Unload] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)


def leader(view: View) -> str:
    """Who plans: the first by name of those that are alive; empty without any."""
    return min((node.id for node in view.nodes.values() if node.health is Health.ALIVE), default="")


def plan(
    view: View,
    managed: Sequence[Managed],
    wanted: Mapping[str, int],
    *,
    pending: Collection[tuple[str, str]] = (),
    refused: Collection[tuple[str, str]] = (),
) -> Plan:
    """The steps.

    Args:
        managed: models with rules.
        wanted: how many nodes should have each in memory, by its full name, as `Scaler.wanted` says.
        pending: node and digest of loads under way.
        refused: node and digest of loads that must not be tried now.
    """
    usable = [node for node in view.nodes.values() if node.is_usable()]
    free_bytes = {node.id: node.free_bytes for node in usable}
    draft = _Draft(usable, free_bytes, set(pending), frozenset(refused))
    for model in managed:
        _reach(model, wanted.get(model.model, 0), draft)
        _unload_surplus(model, wanted.get(model.model, 0), draft)
    for model in _moving(view, managed):
        _reach(model, 1, draft)
    _leave(view, draft)
    return Plan(tuple(draft.loads), tuple(draft.unloads), tuple(draft.unplaced))


def _on(model: Managed, draft: _Draft) -> list[NodeView]:
    return [node for node in draft.usable if _is_on(node, model, draft)]


def _is_on(node: NodeView, model: Managed, draft: _Draft) -> bool:
    return model.digest in node.loaded or (node.id, model.digest) in draft.pending


def _moving(view: View, managed: Sequence[Managed]) -> Iterator[Managed]:
    """Models without rules that a node had in memory when it began to drain."""
    with_rules = {model.digest for model in managed}
    seen = set(with_rules)
    for node in view.nodes.values():
        if node.is_draining and node.health is Health.ALIVE:
            for model, digest in node.models.items():
                if digest in node.loaded and digest not in seen:
                    seen.add(digest)
                    yield Managed(model, digest, _ANYWHERE, node.loaded[digest].memory_bytes)


def _reach(model: Managed, number: int, draft: _Draft) -> None:
    for _ in range(number - len(_on(model, draft))):
        if not _load(model, draft):
            return


def _load(model: Managed, draft: _Draft) -> bool:
    """Adds a load at the best node that has room; or the reason why there is none."""
    free = [
        node
        for node in draft.usable
        if not _is_on(node, model, draft) and (node.id, model.digest) not in draft.refused
    ]
    room = [node for node in free if draft.free_bytes[node.id] >= model.needs_bytes]
    if not room:
        largest = max(free, key=lambda node: (node.total_bytes, node.id), default=None)
        if largest is not None:
            draft.unplaced.append(Unplaced(model.model, model.needs_bytes, largest.id, largest.total_bytes))
        return False
    sign = -1 if model.replicas.placement is Placement.SPREAD else 1

    def rank(node: NodeView) -> tuple[bool, int, str]:
        return (node.models.get(model.model) != model.digest, sign * draft.free_bytes[node.id], node.id)

    node = min(room, key=rank)
    draft.loads.append(
        Load(model.model, model.digest, node.id, has_weights=node.models.get(model.model) == model.digest)
    )
    draft.pending.add((node.id, model.digest))
    draft.free_bytes[node.id] -= model.needs_bytes
    return True


def _unload_surplus(model: Managed, number: int, draft: _Draft) -> None:
    """Frees the memory of replicas that are idle, first where memory is short (spread) or plenty (pack)."""
    on = _on(model, draft)
    idle = [node for node in on if model.digest in node.loaded and not busy(node, model.digest)]
    sign = 1 if model.replicas.placement is Placement.SPREAD else -1
    idle.sort(key=lambda node: (sign * node.free_bytes, node.id))
    surplus = max(0, len(on) - number)
    draft.unloads += [Unload(model.model, model.digest, node.id) for node in idle[:surplus]]


def _leave(view: View, draft: _Draft) -> None:
    """What is idle on a draining node goes, once it is in memory elsewhere."""
    for node in view.nodes.values():
        if not node.is_draining or node.health is not Health.ALIVE:
            continue
        names = {digest: model for model, digest in node.models.items()}
        for digest, loaded in node.loaded.items():
            is_elsewhere = any(
                other.is_usable() and digest in other.loaded and not other.loaded[digest].is_loading
                for other in view.nodes.values()
            )
            if is_elsewhere and not busy(node, digest) and not loaded.is_loading and digest in names:
                draft.unloads.append(Unload(names[digest], digest, node.id))
