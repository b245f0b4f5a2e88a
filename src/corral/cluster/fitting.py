"""Which node a model would fit on: for people, where none has taken it. A model has to fit on one machine."""

from __future__ import annotations

from corral.cluster.view import Health, NodeView, View

_GB = 1e9


def memory_hint(view: View, needs_bytes: int = 0) -> str:
    """What to do about a model that no node had room for. `needs_bytes` 0: not known.

    Empty if no node is heard.
    """
    nodes = [node for node in view.nodes.values() if node.health is Health.ALIVE]
    largest = max(nodes, key=lambda node: (node.total_bytes, node.id), default=None)
    if largest is None:
        return ""
    if needs_bytes > largest.total_bytes:
        return (
            f"no node of the cluster can hold it: the largest, {largest.id}, has {_memory(largest)}; a model has to"
            " fit on one machine"
        )
    fitting = [node for node in nodes if node.total_bytes >= needs_bytes and not node.is_draining]
    best = max(fitting, key=lambda node: (node.free_bytes, node.id), default=largest)
    words = "would fit it" if needs_bytes else "has the most room"
    return f"node {best.id} {words}, with {_memory(best)}: unload others there with corral stop, or wait for them"


def _memory(node: NodeView) -> str:
    return f"{node.total_bytes / _GB:.1f} GB ({node.free_bytes / _GB:.1f} GB free)"
