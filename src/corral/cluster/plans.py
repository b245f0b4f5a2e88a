"""What the plan for replicas wants and how far it is, as JSON has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corral.cluster.agreement import disagreements
from corral.cluster.placement import leader
from corral.cluster.replicator import Replicator, short
from corral.cluster.view import View


def plan_facts(replicator: Replicator, view: View, is_visible: Callable[[str], bool]) -> dict[str, Any]:
    """Members for the state of a cluster. `is_visible` says by its full name whether the caller may know of a model.

    Problems are known to the node that plans alone.
    """
    replicas = [
        _replicas(replicator, view, model, wanted)
        for model, wanted in sorted(replicator.wanted.items())
        if is_visible(model)
    ]
    conflicts = [
        {
            "model": short(each.model),
            "digest": each.digest,
            "nodes": {digest: list(names) for digest, names in each.nodes.items()},
        }
        for each in disagreements(view)
        if is_visible(each.model)
    ]
    found = {"planner": leader(view), "replicas": replicas, "conflicts": conflicts}
    return {name: value for name, value in found.items() if value}


def _replicas(replicator: Replicator, view: View, model: str, wanted: int) -> dict[str, Any]:
    digest = replicator.digests.get(model, "")
    on = [node.id for node in view.nodes.values() if node.is_usable() and digest in node.loaded]
    problems = [text for (_, other), text in sorted(replicator.problems.items()) if other == digest]
    found: dict[str, Any] = {"model": short(model), "wanted": wanted, "nodes": sorted(on)}
    if problems:
        found["problems"] = problems
    return found
