"""Which prompts a node has computed for a model, as far as a gateway knows: from the answers that came back.

An entry is a key of a chain (`keys.py`). Each node and model has room for some thousand of them, and the least
recently used go first. Of one prompt the later keys go before the earlier ones, so what is left of it is always a
beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from corral.cluster.keys import count_for, warm_count
from corral.cluster.view import Answers, PromptKeys

MAX_KEYS = 8192
KEEP_ALIVE_S = 300.0
# What a match counts once the node may have unloaded the model.
_OLD_TRUST = 0.5
_NOBODY: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Known:
    """What one node knows of one model. `until_s`: then it may have unloaded the model."""

    keys: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    until_s: float = 0.0


class PrefixIndex:
    """Times are of one clock that does not go back, in seconds."""

    def __init__(self, *, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        # By digest, then by node.
        self._known: dict[str, dict[str, _Known]] = {}
        # By digest, then by key: who has it. Sets of one are shared, because most keys are known to one node.
        self._holders: dict[str, dict[bytes, frozenset[str]]] = {}
        self._alone: dict[str, frozenset[str]] = {}

    def answered(
        self, node: str, digest: str, keys: PromptKeys, now: float, *, keep_alive_s: float = KEEP_ALIVE_S
    ) -> None:
        """A node has answered a request with this prompt."""
        known = self._known.setdefault(digest, {}).setdefault(node, _Known())
        known.until_s = now + keep_alive_s
        holders = self._holders.setdefault(digest, {})
        alone = self._alone.setdefault(node, frozenset((node,)))
        for key in reversed(keys):
            if key in known.keys:
                known.keys.move_to_end(key)
            else:
                known.keys[key] = None
                holders[key] = holders[key] | alone if key in holders else alone
        while len(known.keys) > self._max_keys:
            self._drop(holders, known.keys.popitem(last=False)[0], node)

    def share(self, node: str, digest: str, keys: PromptKeys, now: float, *, answers: Answers = ()) -> float:
        """How much of the prompt the node should have, 0 to 1.

        Args:
            answers: where answers lie in the prompt; a node that knows all that comes before one has made it.
        """
        known = self._known.get(digest, {}).get(node)
        if known is None:
            return 0.0
        low, high = 0, len(keys)
        while low < high:
            middle = (low + high + 1) // 2
            if keys[middle - 1] in known.keys:
                low = middle
            else:
                high = middle - 1
        return _share(low, len(keys), answers) * _trust(known, now)

    def shares(
        self, digest: str, keys: PromptKeys, now: float, *, answers: Answers = (), least: float = 0.0
    ) -> Mapping[str, float]:
        """`share` of all nodes for which it is above 0 and, before trust is halved, at least `least`."""
        holders = self._holders.get(digest)
        if not holders or not keys:
            return {}
        first = count_for(least, len(keys), answers)
        found: dict[str, float] = {}
        nodes = holders.get(keys[first - 1], _NOBODY) if first <= len(keys) else _NOBODY
        waiting = [(nodes, first, len(keys))] if nodes else []
        known = self._known[digest]
        while waiting:
            nodes, low, high = waiting.pop()
            if low == high:
                share = _share(low, len(keys), answers)
                found.update((node, share * _trust(known[node], now)) for node in nodes)
                continue
            middle = (low + high + 1) // 2
            having = nodes & holders.get(keys[middle - 1], _NOBODY)
            if having:
                waiting.append((having, middle, high))
            if others := nodes - having:
                waiting.append((others, low, middle - 1))
        return found

    def forget_node(self, node: str) -> None:
        """It has started again, or left."""
        for digest in list(self._known):
            self.forget_model(node, digest)
        self._alone.pop(node, None)

    def forget_model(self, node: str, digest: str) -> None:
        """The node has unloaded it."""
        nodes = self._known.get(digest, {})
        known = nodes.pop(node, None)
        if known is None:
            return
        holders = self._holders[digest]
        for key in known.keys:
            self._drop(holders, key, node)
        if not nodes:
            del self._known[digest], self._holders[digest]

    def _drop(self, holders: dict[bytes, frozenset[str]], key: bytes, node: str) -> None:
        others = holders[key] - {node}
        if not others:
            del holders[key]
        elif len(others) == 1:
            holders[key] = self._alone[next(iter(others))]
        else:
            holders[key] = others

    def __len__(self) -> int:
        """Entries of all nodes and models."""
        return sum(len(known.keys) for nodes in self._known.values() for known in nodes.values())


def _share(count: int, total: int, answers: Answers) -> float:
    return warm_count(count, answers) / total if count else 0.0


def _trust(known: _Known, now: float) -> float:
    return 1.0 if now <= known.until_s else _OLD_TRUST
