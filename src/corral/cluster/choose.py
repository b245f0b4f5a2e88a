"""Which node a request goes to: a function of what is known, without state, clock or chance of its own.

The order of what counts, each only among the nodes that the one before it left:
1. a node takes requests, has the model, and has not failed this request;
2. it has the model in memory, unless waiting there takes longer than a load elsewhere;
3. the client's session was there, or the prompt is warm there, unless that node is too busy beside the others;
4. memory for the load; the shortest queue; and of two drawn from those that are equal, the one with more free memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from corral.cluster.load import Load, load_of, load_seconds
from corral.cluster.view import Decision, NodeView, View, Wanted, Why


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of the choice.

    Attributes:
        affinity: the share of a prompt, 0 to 1, from which on a warm node is worth going to.
        imbalance_abs: how many more requests than the least busy node a warm node may have.
        imbalance_rel: how many times as many; both have to be exceeded for another node to be chosen.
    """

    affinity: float = 0.3
    imbalance_abs: int = 4
    imbalance_rel: float = 1.5


DEFAULT = Rules()


@dataclass(frozen=True, slots=True)
class _Candidate:
    node: NodeView
    load: Load


def choose(
    view: View, wanted: Wanted, shares: Mapping[str, float], rules: Rules = DEFAULT, *, pinned: str = ""
) -> Decision:
    """The node for a request.

    Args:
        shares: how much of the prompt nodes should know, by name; nodes that are missing know nothing.
        pinned: the node that the session's last request went to.
    """
    found = candidates(view, wanted)
    if not found:
        return Decision("", Why.ONLY)
    if len(found) == 1:
        return Decision(found[0].node.id, Why.ONLY, shares.get(found[0].node.id, 0.0))
    pool, is_on = _pool(found, wanted)
    warm = _warm(pool, shares, rules.affinity, pinned)
    chosen = _best_warm(pool, warm, rules) if warm else None
    if chosen is not None:
        why = Why.SESSION if chosen.node.id == pinned else Why.PREFIX
    else:
        chosen = _least_busy(pool if is_on else _with_memory(pool, wanted.needs_bytes), wanted.seed)
        why = _reason(bool(warm), is_on, len(pool) < len(found))
    return Decision(chosen.node.id, why, shares.get(chosen.node.id, 0.0))


def candidates(view: View, wanted: Wanted) -> list[_Candidate]:
    """Nodes that can take the request, in the order of the view."""
    names: Iterable[str] = view.nodes if view.holders is None else view.holders.get(wanted.model, ())
    found = []
    for name in names:
        node = view.nodes.get(name)
        if node is None or not takes(node, wanted):
            continue
        found.append(_Candidate(node, load_of(node, node.models[wanted.model], wanted.needs_bytes)))
    return found


def takes(node: NodeView, wanted: Wanted) -> bool:
    """Whether a request may go to this node."""
    if not node.is_usable() or node.id in wanted.tried:
        return False
    digest = node.models.get(wanted.model)
    return digest is not None and (not wanted.digest or digest == wanted.digest)


def _pool(found: Sequence[_Candidate], wanted: Wanted) -> tuple[Sequence[_Candidate], bool]:
    """Those that have the model in memory, and True; or those that would load it sooner than a place is free."""
    on = [candidate for candidate in found if candidate.load.is_on]
    if not on or len(on) == len(found):
        return found, bool(on)
    wait_s = min(candidate.load.wait_s for candidate in on)
    if not wait_s:
        return on, True
    off = [c for c in found if not c.load.is_on and _loads_in(c, wanted) < wait_s]
    fitting = [c for c in off if c.node.free_bytes >= wanted.needs_bytes]
    return (fitting, False) if fitting else (on, True)


def _loads_in(candidate: _Candidate, wanted: Wanted) -> float:
    return load_seconds(candidate.node, candidate.node.models[wanted.model], wanted.needs_bytes)


def _warm(
    pool: Sequence[_Candidate], shares: Mapping[str, float], affinity: float, pinned: str
) -> list[tuple[float, _Candidate]]:
    """Nodes worth going to, with the share of the prompt that is warm there: the session's counts as all of it."""
    if not shares and not pinned:
        return []
    warm = []
    for candidate in pool:
        share = 1.0 if candidate.node.id == pinned else shares.get(candidate.node.id, 0.0)
        if share and share >= affinity:
            warm.append((share, candidate))
    return warm


def _best_warm(
    pool: Sequence[_Candidate], warm: Sequence[tuple[float, _Candidate]], rules: Rules
) -> _Candidate | None:
    """The warmest that is not too busy; of equally warm ones the least busy."""
    least_busy = min(candidate.load.busy for candidate in pool)
    least_wait_s = min(candidate.load.wait_s for candidate in pool)
    good = [
        (-share, *_queue(candidate), candidate.node.id, candidate)
        for share, candidate in warm
        if not _is_too_busy(candidate.load, least_busy, rules)
        and candidate.load.wait_s - least_wait_s <= share * candidate.load.request_s
    ]
    return min(good)[-1] if good else None


def _is_too_busy(load: Load, least: int, rules: Rules) -> bool:
    return load.busy - least > rules.imbalance_abs and load.busy > rules.imbalance_rel * least


def _with_memory(pool: Sequence[_Candidate], needs_bytes: int) -> Sequence[_Candidate]:
    """Those with room for a load; else those that could make room; else all."""
    for fits in (
        [candidate for candidate in pool if candidate.node.free_bytes >= needs_bytes],
        [candidate for candidate in pool if candidate.node.total_bytes >= needs_bytes],
    ):
        if fits:
            return fits
    return pool


def _queue(candidate: _Candidate) -> tuple[float, int]:
    return candidate.load.wait_s, candidate.load.all_busy


def _least_busy(pool: Sequence[_Candidate], seed: int) -> _Candidate:
    """The shortest queue. Of several, two are drawn, and the one with more free memory is taken."""
    least = min(map(_queue, pool))
    equal = [candidate for candidate in pool if _queue(candidate) == least]
    if len(equal) > 2:
        equal = Random(seed).sample(equal, 2)
    return max(equal, key=lambda candidate: (candidate.node.free_bytes, candidate.node.id))


def _reason(was_warm: bool, is_on: bool, is_part: bool) -> Why:
    if was_warm:
        return Why.BALANCE
    if not is_on:
        return Why.MEMORY
    return Why.LOADED if is_part else Why.LEAST


def is_free(view: View, wanted: Wanted) -> bool:
    """Whether a node could take the request without waiting, or by a load: there is capacity left."""
    return any(candidate.load.wait_s == 0 for candidate in candidates(view, wanted))
