"""How busy a node is with a model, and for how long a further request would wait there: estimates from one view."""

from __future__ import annotations

from dataclasses import dataclass

from corral.cluster.view import NodeView

# Where nothing was measured yet.
_REQUEST_S = 4.0
_LOAD_S = 10.0
# Nobody loads faster than this; a guess from the size of a model never is below it.
_LOAD_BYTES_PER_S = 500e6
_LEAST_LOAD_S = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """One node and one model.

    Attributes:
        busy: requests that have a slot there or wait for one.
        is_on: the model is in memory, or will be by what was sent.
        request_s: for how long a request has a slot.
        wait_s: until one more request would get one.
        block_s: for a block of a prompt that is not warm; None: not measured.
    """

    busy: int
    is_on: bool
    request_s: float
    wait_s: float
    block_s: float | None = None


def busy(node: NodeView, digest: str) -> int:
    """Requests of the model there: what the node said, and what was sent and has ended since."""
    mine, model = node.sent.get(digest, 0), node.loaded.get(digest)
    if model is None:
        return mine
    said = model.running + model.waiting + mine - node.sent_then.get(digest, 0)
    return said if said > mine else mine


def load_seconds(node: NodeView, digest: str, needs_bytes: int = 0) -> float:
    """How long a load takes there: as measured, or a guess from the model's size."""
    measured = node.load_seconds.get(digest)
    if measured is not None:
        return measured
    return max(_LEAST_LOAD_S, needs_bytes / _LOAD_BYTES_PER_S) if needs_bytes else _LOAD_S


def load_of(node: NodeView, digest: str, needs_bytes: int = 0) -> Load:
    """All estimates for a node and a model. They are kept with the node: most nodes are as they were."""
    kept: Load | None = node.estimates.get((digest, needs_bytes))
    if kept is None:
        kept = node.estimates[digest, needs_bytes] = _estimated(node, digest, needs_bytes)
    return kept


def _estimated(node: NodeView, digest: str, needs_bytes: int) -> Load:
    model, count = node.loaded.get(digest), busy(node, digest)
    request_s = node.request_seconds.get(digest, _REQUEST_S)
    slots = model.slots if model and model.slots > 0 else 1
    # One that runs ends each `request_s / slots`. A load has done half of its work, on average.
    wait_s = (count - slots + 1) * request_s / slots if count >= slots else 0.0
    is_on = model is not None or count > 0
    if is_on and (model is None or model.is_loading):
        wait_s += load_seconds(node, digest, needs_bytes) / 2
    return Load(count, is_on, request_s, wait_s, node.block_seconds.get(digest))


def all_busy(node: NodeView) -> int:
    """Requests of all models there."""
    count = sum(busy(node, digest) for digest in node.loaded)
    if node.sent:
        count += sum(sent for digest, sent in node.sent.items() if digest not in node.loaded)
    return count
