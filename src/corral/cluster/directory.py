"""What a gateway knows of all nodes: what they say of themselves, what it sent there, when each was heard last."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from corral.cluster.holding import Holding
from corral.cluster.load import busy
from corral.cluster.view import Health, LoadedModel, NodeView, View

# Nodes speak each 0.5 s, and whenever something changes.
SUSPECT_AFTER_S = 1.5
GONE_AFTER_S = 10.0
# Of an average of durations, what the newest one counts.
_NEWEST_SHARE = 0.2
# Earlier starts of a node, whose words may still be under way.
_KEPT_EPOCHS = 8
# Of a prompt, cold blocks from which on the time to the first byte is mostly theirs.
_FEW_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a node says of itself; the fields are those of `NodeView`.

    `number`: rises with each one of an epoch; what comes late is ignored.
    """

    id: str
    epoch: str
    number: int
    url: str = ""
    is_draining: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    loaded: Mapping[str, LoadedModel] = field(default_factory=dict)
    free_bytes: int = 0
    total_bytes: int = 0
    load_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a heartbeat means for what else is known of the node.

    `has_restarted`: what was warm there is not any more. `unloaded`: digests of models that it had in memory before.
    """

    has_restarted: bool = False
    unloaded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sent:
    """A request under way at a node.

    Attributes:
        ahead: requests of the model there, with this one, per slot; at least 1.
        was_ready: the model was in memory.
    """

    node: str
    digest: str
    at_s: float
    ahead: float = 1.0
    was_ready: bool = False


@dataclass(slots=True)
class _Heard:
    """`at_s`: -inf if the node was never heard."""

    at_s: float = -inf
    number: int = -1
    epochs: tuple[str, ...] = ()


class Directory:
    """Times are of one clock that does not go back, in seconds.

    Args:
        me: the gateway's own name, if it serves models itself.
    """

    def __init__(
        self, me: str = "", *, suspect_after_s: float = SUSPECT_AFTER_S, gone_after_s: float = GONE_AFTER_S
    ) -> None:
        self.me = me
        self._suspect_after_s = suspect_after_s
        self._gone_after_s = gone_after_s
        self._nodes: dict[str, NodeView] = {}
        self._heard: dict[str, _Heard] = {}
        self._drained: set[str] = set()
        self._holding = Holding()
        # Before this time no node's health changes by itself.
        self._check_at_s = inf

    def add(self, node: str, url: str = "") -> None:
        """A node that is said to exist. Nothing goes there before it is heard."""
        known = self._nodes.get(node)
        if known is not None:
            if url and url != known.url:
                self._nodes[node] = replace(known, url=url)
            return
        self._nodes[node] = NodeView(node, url, health=Health.SUSPECT)
        self._heard[node] = _Heard()

    def remove(self, node: str) -> None:
        """It is not a member any more."""
        known = self._nodes.pop(node, None)
        if known is not None:
            self._holding.changed(known, NodeView(node))
            del self._heard[node]
        self._drained.discard(node)

    def heard(self, beat: Heartbeat, now: float) -> Changes:
        """A node spoke. One that is not known is added; one that comes late changes nothing."""
        self.add(beat.id, beat.url)
        heard, before = self._heard[beat.id], self._nodes[beat.id]
        is_new = beat.epoch != before.epoch
        if beat.epoch in heard.epochs or (not is_new and beat.number <= heard.number):
            return Changes()
        if is_new and before.epoch:
            heard.epochs = (*heard.epochs, before.epoch)[-_KEPT_EPOCHS:]
        heard.at_s, heard.number = now, beat.number
        self._check_at_s = min(self._check_at_s, now + self._suspect_after_s)
        self._put(self._with(before, beat))
        unloaded = {digest for digest in before.loaded if not _is_still_loaded(digest, before, beat)}
        return Changes(has_restarted=is_new and before.epoch != "", unloaded=frozenset(unloaded))

    def lost(self, node: str) -> None:
        """Its connection broke: nothing goes there until it is heard again."""
        known = self._nodes.get(node)
        if known is not None and known.health is Health.ALIVE:
            self._nodes[node] = replace(known, health=Health.SUSPECT)

    def drain(self, node: str, *, is_draining: bool = True) -> None:
        """This gateway sends nothing new there, whatever the node says."""
        if is_draining:
            self._drained.add(node)
        else:
            self._drained.discard(node)
        known = self._nodes.get(node)
        if known is not None:
            self._nodes[node] = replace(known, is_draining=is_draining)

    def sent(self, node: str, digest: str, now: float) -> Sent:
        """A request of a model goes to a node; to be followed by `ended`, however it ends."""
        known = self._nodes.get(node)
        if known is None:
            return Sent(node, digest, now)
        known = self._put(known.after(sent=_counted(known.sent, digest, 1)))
        model = known.loaded.get(digest)
        if model is None:
            return Sent(node, digest, now, float(busy(known, digest)))
        ahead = busy(known, digest) / max(1, model.slots)
        return Sent(node, digest, now, max(1.0, ahead), not model.is_loading)

    def answered(self, sent: Sent, cold_blocks: float, now: float) -> None:
        """Its first byte came, after this many blocks of its prompt had to be computed.

        Only what did not wait says how long that takes, and only if it was more than what else there is to do.
        """
        known = self._nodes.get(sent.node)
        if known is not None and sent.ahead <= 1 and cold_blocks >= _FEW_BLOCKS and sent.was_ready:
            seconds = _averaged(known.block_seconds, sent.digest, (now - sent.at_s) / cold_blocks)
            self._nodes[sent.node] = known.after(block_seconds=seconds)

    def ended(self, sent: Sent, now: float, *, is_measured: bool = True) -> None:
        """It has its answer, or never will.

        Args:
            is_measured: its duration says how long requests take: it had a whole answer.
        """
        known = self._nodes.get(sent.node)
        if known is None:
            return
        seconds = known.request_seconds
        if is_measured and sent.was_ready:
            # With a line before it, its duration was that of a request for each round that it waited.
            seconds = _averaged(seconds, sent.digest, max(0.0, now - sent.at_s) / sent.ahead)
        counts = _counted(known.sent, sent.digest, -1)
        self._put(known.after(sent=counts, request_seconds=seconds))

    def view(self, now: float) -> View:
        """Everything at this moment; later calls do not change it."""
        if now > self._check_at_s:
            self._check(now)
        return View(dict(self._nodes), self.me, self._holding.models)

    def node(self, name: str) -> NodeView | None:
        """One node; None: it is not a member."""
        return self._nodes.get(name)

    def names(self) -> Collection[str]:
        """Of all members."""
        return self._nodes.keys()

    def _with(self, before: NodeView, beat: Heartbeat) -> NodeView:
        return NodeView(
            beat.id,
            beat.url or before.url,
            beat.epoch,
            Health.ALIVE,
            is_draining=beat.is_draining or beat.id in self._drained,
            models=beat.models,
            loaded=beat.loaded,
            sent=before.sent,
            sent_then=before.sent,
            free_bytes=beat.free_bytes,
            total_bytes=beat.total_bytes,
            load_seconds=beat.load_seconds,
            request_seconds=before.request_seconds,
            block_seconds=before.block_seconds,
        )

    def _put(self, node: NodeView) -> NodeView:
        self._holding.changed(self._nodes[node.id], node)
        self._nodes[node.id] = node
        return node

    def _check(self, now: float) -> None:
        """Nodes that were not heard for too long, and when to look again."""
        self._check_at_s = inf
        for node, heard in self._heard.items():
            silent_s = now - heard.at_s
            if silent_s > self._gone_after_s:
                health = Health.GONE
            elif silent_s > self._suspect_after_s:
                health = Health.SUSPECT
                self._check_at_s = min(self._check_at_s, heard.at_s + self._gone_after_s)
            else:
                health = self._nodes[node].health
                self._check_at_s = min(self._check_at_s, heard.at_s + self._suspect_after_s)
            if health is not self._nodes[node].health:
                self._nodes[node] = replace(self._nodes[node], health=health)


def _averaged(seconds: Mapping[str, float], digest: str, newest_s: float) -> Mapping[str, float]:
    before_s = seconds.get(digest, newest_s)
    return {**seconds, digest: before_s + _NEWEST_SHARE * (newest_s - before_s)}


def _is_still_loaded(digest: str, before: NodeView, beat: Heartbeat) -> bool:
    """Whether nothing was lost: a load of what was ready before starts from nothing."""
    after = beat.loaded.get(digest)
    return after is not None and (before.loaded[digest].is_loading or not after.is_loading)


def _counted(counts: Mapping[str, int], digest: str, change: int) -> Mapping[str, int]:
    count = counts.get(digest, 0) + change
    others = {other: value for other, value in counts.items() if other != digest}
    return {**others, digest: count} if count > 0 else others
