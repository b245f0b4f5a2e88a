"""Ways to choose a node. All choose among the same ones: well, with the model in memory, unless waiting takes longer
than a load elsewhere. So what differs is the choice alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from random import Random

from corral.cluster.choose import Candidate, pool_of
from corral.cluster.directory import Directory
from corral.cluster.load import all_busy
from corral.cluster.prefixes import KEEP_ALIVE_S
from corral.cluster.router import Routed, Router
from corral.cluster.view import Decision, Wanted, Why

_POINTS = 64


class Corral(Router):
    """The router as it is, for clients that do not name their sessions."""

    def decide(self, wanted: Wanted, now: float) -> Decision:
        return super().decide(replace(wanted, session=""), now)


class _Cold(Router):
    """It does not ask which prompts are warm, so what would be known of them is not kept."""

    def answered(self, routed: Routed, now: float, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        cold = replace(routed, wanted=replace(routed.wanted, keys=(), session=""))
        super().answered(cold, now, keep_alive_s=keep_alive_s)


class _Among(_Cold, ABC):
    """Another choice among the same nodes."""

    def decide(self, wanted: Wanted, now: float) -> Decision:
        pool = pool_of(self.view(now), wanted)
        if not pool.candidates:
            return Decision("", Why.ONLY)
        return Decision(self.pick(pool.candidates, wanted).node.id, Why.LEAST)

    @abstractmethod
    def pick(self, candidates: Sequence[Candidate], wanted: Wanted) -> Candidate:
        """One of at least one."""


class RoundRobin(_Among):
    """One after the other, for each model."""

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self._last: dict[str, str] = {}

    def pick(self, candidates: Sequence[Candidate], wanted: Wanted) -> Candidate:
        last = self._last.get(wanted.model, "")
        chosen = min(candidates, key=lambda candidate: (candidate.node.id <= last, candidate.node.id))
        self._last[wanted.model] = chosen.node.id
        return chosen


class LeastLoaded(_Cold):
    """The shortest queue: this router without warm prompts and sessions."""

    def decide(self, wanted: Wanted, now: float) -> Decision:
        return super().decide(replace(wanted, keys=(), session=""), now)


class PowerOfTwo(_Among):
    """The less busy of two drawn ones."""

    def pick(self, candidates: Sequence[Candidate], wanted: Wanted) -> Candidate:
        two = Random(wanted.seed).sample(candidates, min(2, len(candidates)))
        return min(two, key=lambda candidate: (candidate.load.wait_s, all_busy(candidate.node)))


class ConsistentHashing(_Among):
    """A ring of nodes, and each conversation at its place: the next node after it that can take it."""

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self._places: list[int] = []
        self._names: list[str] = []

    def pick(self, candidates: Sequence[Candidate], wanted: Wanted) -> Candidate:
        if not self._places:
            points = sorted(
                (_hash(f"{name} {i}"), name) for name in self.directory.names() for i in range(_POINTS)
            )
            self._places, self._names = [place for place, _ in points], [name for _, name in points]
        able = {candidate.node.id: candidate for candidate in candidates}
        at = bisect(self._places, _hash(wanted.session))
        for i in range(len(self._names)):
            found = able.get(self._names[(at + i) % len(self._names)])
            if found is not None:
                return found
        return candidates[0]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


POLICIES: Mapping[str, type[Router]] = {
    "Corral": Corral,
    "round robin": RoundRobin,
    "least loaded": LeastLoaded,
    "power of two": PowerOfTwo,
    "consistent hashing": ConsistentHashing,
}
