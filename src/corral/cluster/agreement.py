"""Which manifest holds for a name where nodes have different ones, and who has it. Pure.

The one that most nodes have that are heard; of several, the one whose first node by name comes first. So all gateways
say the same, and a node that has pulled something newer, or made something of its own, is in the minority until the
others follow. Requests go to nodes that have what holds, as long as one of them takes any. Nothing is overwritten for
that: what another node has stays there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from corral.cluster.view import Health, View


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Nodes by the digest that they have under one name; `digest` is the one that holds."""

    model: str
    digest: str
    nodes: Mapping[str, tuple[str, ...]]


def nodes_by_digest(view: View, model: str) -> dict[str, list[str]]:
    """Nodes that are heard, by the digest that they have under a full name; names sorted."""
    found: dict[str, list[str]] = {}
    for node in sorted(_names(view, model)):
        known = view.nodes.get(node)
        if known is not None and known.health is Health.ALIVE and model in known.models:
            found.setdefault(known.models[model], []).append(node)
    return found


def agreed_digest(view: View, model: str) -> str:
    """The digest that holds for a full name; empty: no node has the model."""
    return _winner(nodes_by_digest(view, model))


def digest_to_ask_for(view: View, model: str) -> str:
    """What a request for a full name has to get; empty: whatever a node has.

    Nodes that all have the same are not looked at. Where no node with the right one takes requests, another answer is
    better than none.
    """
    holders = None if view.models is None else view.models.get(model)
    if holders is not None and len(holders.digests) < 2:
        return ""
    nodes = nodes_by_digest(view, model)
    found = _winner(nodes)
    return found if any(view.nodes[node].is_usable() for node in nodes.get(found, ())) else ""


def disagreements(view: View) -> list[Disagreement]:
    """Names under which nodes have different models, sorted."""
    models = view.models
    if models is not None:
        names = [name for name, holders in models.items() if len(holders.digests) > 1]
    else:
        names = list({name for node in view.nodes.values() for name in node.models})
    found = [(name, nodes_by_digest(view, name)) for name in sorted(names)]
    return [
        Disagreement(name, _winner(nodes), {digest: tuple(who) for digest, who in nodes.items()})
        for name, nodes in found
        if len(nodes) > 1
    ]


def _names(view: View, model: str) -> list[str]:
    if view.models is None:
        return list(view.nodes)
    holders = view.models.get(model)
    return [*holders.on, *holders.off] if holders is not None else []


def _winner(nodes: Mapping[str, list[str]]) -> str:
    return min(nodes, key=lambda digest: (-len(nodes[digest]), nodes[digest][0]), default="")
