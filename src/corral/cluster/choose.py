"""Which node a request goes to: a function of what is known, without state, clock or chance of its own.

The order of what counts, each only among the nodes that the one before it left:
1. a node takes requests, has the model, and has not failed this request;
2. it has the model in memory, unless waiting there takes longer than a load elsewhere;
3. the client's session was there, or the prompt is warm there, unless that node is too busy beside the others;
4. memory for the load; the shortest queue; and of two drawn from those that are equal, the one with more free memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from random import Random

from corral.cluster.load import Load, all_busy, load_of, load_seconds
from corral.cluster.view import Decision, Holders, NodeView, View, Wanted, Why


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of the choice.

    Attributes:
        affinity: the share of a prompt, 0 to 1, from which on a warm node is worth going to.
        imbalance_abs: how many more requests than the least busy node a warm node may have.
        imbalance_rel: how many times as many; both have to be exceeded for another node to be chosen.
        patience: for how much of the time that a warm prompt saves a request may wait longer than elsewhere.
    """

    affinity: float = 0.3
    imbalance_abs: int = 4
    imbalance_rel: float = 1.5
    patience: float = 0.5


DEFAULT = Rules()
_NOBODY = Holders()
_UNKNOWN = object()
# Fewer warm blocks are not worth a node that is busier than another.
_LITTLE = 2
# Of nodes that would have to load a model which others have, so many are looked at: the next request sees others.
_DRAWN = 32


@dataclass(slots=True)
class Candidate:
    """A node that can take a request of a model. Kept with the node, for all requests until something changes there.

    `digest`: of what it has under the model's name.
    """

    node: NodeView
    load: Load
    digest: str


# Half as long as a generator for hundreds of candidates.
_wait_s: Callable[[Candidate], float] = attrgetter("load.wait_s")
_busy: Callable[[Candidate], int] = attrgetter("load.busy")


@dataclass(slots=True)
class _Warm:
    """A node that knows `share` of the prompt, which is so many blocks."""

    candidate: Candidate
    share: float
    blocks: float


@dataclass(frozen=True, slots=True)
class Pool:
    """Those of the candidates among which the rest decides.

    Attributes:
        is_on: they have the model in memory.
        is_part: there are others, which are worse.
    """

    candidates: Sequence[Candidate]
    is_on: bool = False
    is_part: bool = False


def choose(
    view: View, wanted: Wanted, shares: Mapping[str, float], rules: Rules = DEFAULT, *, pinned: str = ""
) -> Decision:
    """The node for a request.

    Args:
        shares: how much of the prompt nodes should know, by name; nodes that are missing know nothing.
        pinned: the node that the session's last request went to.
    """
    pool = pool_of(view, wanted)
    if not pool.candidates:
        return Decision("", Why.ONLY)
    warm = _warm(pool, wanted, shares, rules.affinity, pinned)
    chosen = _best_warm(pool, warm, rules) if warm else None
    if len(pool.candidates) == 1 and not pool.is_part:
        chosen, why = pool.candidates[0], Why.ONLY
    elif chosen is not None:
        why = Why.SESSION if chosen.node.id == pinned else Why.PREFIX
    else:
        chosen = least_busy(pool, wanted)
        why = _reason(pool, was_warm=bool(warm))
    return Decision(chosen.node.id, why, shares.get(chosen.node.id, 0.0))


def takes(node: NodeView, wanted: Wanted) -> bool:
    """Whether a request may go to this node."""
    if not node.is_usable() or node.id in wanted.tried:
        return False
    digest = node.models.get(wanted.model)
    return digest == wanted.digest if wanted.digest else digest is not None


def pool_of(view: View, wanted: Wanted) -> Pool:
    """Those that have the model in memory; or those that would load it sooner than a place is free there."""
    held = _holders(view, wanted.model)
    on = _candidates(view, held.on, wanted)
    if not on:
        return Pool(_candidates(view, held.off, wanted))
    wait_s = min(map(_wait_s, on))
    if wait_s:
        names = held.off
        if len(names) > _DRAWN:
            names = tuple(Random(wanted.seed).sample(names, _DRAWN))
        drawn = _candidates(view, names, wanted)
        if quick := [candidate for candidate in drawn if _loads_within(candidate, wanted, wait_s)]:
            return Pool(quick, is_part=True)
    return Pool(on, is_on=True, is_part=any(takes(view.nodes[name], wanted) for name in held.off))


def _loads_within(candidate: Candidate, wanted: Wanted, seconds: float) -> bool:
    """Whether it has room for a load, and the load takes less than this."""
    node = candidate.node
    if node.free_bytes < wanted.needs_bytes:
        return False
    return load_seconds(node, candidate.digest, wanted.needs_bytes) < seconds


def _holders(view: View, model: str) -> Holders:
    if view.models is not None:
        return view.models.get(model, _NOBODY)
    having = [node for _, node in sorted(view.nodes.items()) if model in node.models]
    on = [node.id for node in having if node.is_on(node.models[model])]
    return Holders(tuple(on), tuple(node.id for node in having if node.id not in on))


def _candidates(view: View, names: Iterable[str], wanted: Wanted) -> list[Candidate]:
    """Those that can take the request. With hundreds of nodes this is most of what a choice costs."""
    key, nodes = (wanted.model, wanted.needs_bytes), view.nodes
    found: list[Candidate] = []
    for name in names:
        node = nodes[name]
        candidate = node.estimates.get(key, _UNKNOWN)
        if candidate is _UNKNOWN:
            candidate = _candidate(node, key)
        if candidate is not None:
            found.append(candidate)
    if not (wanted.tried or wanted.digest):
        return found
    return [candidate for candidate in found if _is_for(candidate, wanted)]


def _candidate(node: NodeView, key: tuple[str, int]) -> Candidate | None:
    """What a node is for requests of a model; None: it takes none. Kept, because most nodes are as they were."""
    model, needs_bytes = key
    digest = node.models.get(model)
    found = None
    if digest is not None and node.is_usable():
        found = Candidate(node, load_of(node, digest, needs_bytes), digest)
    node.estimates[key] = found
    return found


def _is_for(candidate: Candidate, wanted: Wanted) -> bool:
    return candidate.node.id not in wanted.tried and wanted.digest in ("", candidate.digest)


def _warm(
    pool: Pool, wanted: Wanted, shares: Mapping[str, float], affinity: float, pinned: str
) -> list[_Warm]:
    """Nodes worth going to. The session's counts as one that knows all of the prompt, and more than a little."""
    if not shares and not pinned:
        return []
    warm, total = [], len(wanted.keys)
    for candidate in pool.candidates:
        if candidate.node.id == pinned:
            warm.append(_Warm(candidate, 1.0, max(total, _LITTLE)))
            continue
        share = shares.get(candidate.node.id, 0.0)
        if share and share >= affinity:
            warm.append(_Warm(candidate, share, share * total))
    return warm


def _best_warm(pool: Pool, warm: Sequence[_Warm], rules: Rules) -> Candidate | None:
    """The warmest that is not too busy; of equally warm ones the least busy."""
    least = min(map(_busy, pool.candidates))
    least_s = min(map(_wait_s, pool.candidates))
    good = [one for one in warm if _is_worth_it(one, least, least_s, rules)]
    if not good:
        return None
    warmest = max(one.share for one in good)
    return _shortest([one.candidate for one in good if one.share == warmest])[0]


def _is_worth_it(warm: _Warm, least: int, least_s: float, rules: Rules) -> bool:
    """Whether to go there although another node has `least` requests, or one could wait `least_s` only."""
    load = warm.candidate.load
    if load.busy - least > rules.imbalance_abs and load.busy > rules.imbalance_rel * least:
        return False
    if load.busy > least and warm.blocks < _LITTLE:
        return False
    return load.wait_s - least_s <= rules.patience * _saved_s(warm)


def _saved_s(warm: _Warm) -> float:
    """The time for the blocks, or as long as it is not measured, and at most, that share of a request."""
    load, share_s = warm.candidate.load, warm.share * warm.candidate.load.request_s
    return share_s if load.block_s is None else min(share_s, load.block_s * warm.blocks)


def least_busy(pool: Pool, wanted: Wanted) -> Candidate:
    """The shortest queue. Of several, two are drawn, and the one with more free memory is taken."""
    equal = _shortest(pool.candidates if pool.is_on else _with_memory(pool.candidates, wanted.needs_bytes))
    if len(equal) > 2:
        equal = Random(wanted.seed).sample(equal, 2)
    return max(equal, key=lambda candidate: (candidate.node.free_bytes, candidate.node.id))


def _with_memory(candidates: Sequence[Candidate], needs_bytes: int) -> Sequence[Candidate]:
    """Those with room for a load; else those that could make room; else all."""
    for fits in (
        [candidate for candidate in candidates if candidate.node.free_bytes >= needs_bytes],
        [candidate for candidate in candidates if candidate.node.total_bytes >= needs_bytes],
    ):
        if fits:
            return fits
    return candidates


def _shortest(among: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those with the shortest wait, and of these the ones on nodes that do least besides."""
    least_s = min(map(_wait_s, among))
    first = [candidate for candidate in among if candidate.load.wait_s == least_s]
    if len(first) == 1:
        return first
    counts = [all_busy(candidate.node) for candidate in first]
    least = min(counts)
    return [candidate for candidate, count in zip(first, counts, strict=True) if count == least]


def _reason(pool: Pool, *, was_warm: bool) -> Why:
    if was_warm:
        return Why.BALANCE
    if not pool.is_on:
        return Why.MEMORY
    return Why.LOADED if pool.is_part else Why.LEAST


def candidates(view: View, wanted: Wanted) -> list[Candidate]:
    """All nodes that can take the request."""
    held = _holders(view, wanted.model)
    return _candidates(view, (*held.on, *held.off), wanted)


def is_free(view: View, wanted: Wanted) -> bool:
    """Whether a node could take the request without waiting, or by a load: there is capacity left."""
    return any(candidate.load.wait_s == 0 for candidate in candidates(view, wanted))
