"""Which nodes have which model, kept as nodes change, so that no request has to look at all nodes."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

from corral.cluster.view import Holders, NodeView

_NOBODY = Holders()


class Holding:
    """`models` is replaced when it changes, because views have the old one."""

    def __init__(self) -> None:
        self.models: Mapping[str, Holders] = {}

    def changed(self, before: NodeView, after: NodeView) -> None:
        """A node is not what it was; one that is new or has left is `NodeView(id)` on the other side."""
        if before.models == after.models and not _differs(before, after):
            return
        names = before.models.keys() | after.models.keys()
        models = {
            name: self._with(name, before, after)
            for name in names
            if _place(name, before) != _place(name, after)
        }
        if models:
            self.models = {name: held for name, held in {**self.models, **models}.items() if held.digests}

    def _with(self, name: str, before: NodeView, after: NodeView) -> Holders:
        held, node = self.models.get(name, _NOBODY), after.id
        digests = dict(held.digests)
        on, off = ([other for other in names if other != node] for names in (held.on, held.off))
        old, new = before.models.get(name), after.models.get(name)
        if old is not None:
            digests[old] -= 1
            if not digests[old]:
                del digests[old]
        if new is not None:
            digests[new] = digests.get(new, 0) + 1
            insort(on if after.is_on(new) else off, node)
        return Holders(tuple(on), tuple(off), digests)


def _differs(before: NodeView, after: NodeView) -> bool:
    """Whether other models are on."""
    return before.loaded.keys() != after.loaded.keys() or before.sent.keys() != after.sent.keys()


def _place(name: str, node: NodeView) -> tuple[str, bool] | None:
    digest = node.models.get(name)
    return None if digest is None else (digest, node.is_on(digest))
