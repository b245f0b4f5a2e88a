"""The parts that decide, put together: what a gateway asks for each request, and what it reports of how it went.

No I/O and no clock: who calls gives the time, in seconds of one clock that does not go back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from corral.cluster.breaker import Breaker
from corral.cluster.choose import DEFAULT, Rules, choose
from corral.cluster.directory import Directory, Heartbeat, Sent
from corral.cluster.prefixes import KEEP_ALIVE_S, PrefixIndex
from corral.cluster.retries import is_failure
from corral.cluster.sessions import Sessions
from corral.cluster.view import Decision, View, Wanted


@dataclass(frozen=True, slots=True)
class Routed:
    """One request at one node, until it has ended or failed. `sent`: None where no node can take it.

    `is_trial`: the node gets nothing else until this one's end.
    """

    wanted: Wanted
    decision: Decision
    sent: Sent | None = None
    is_trial: bool = False


class Router:
    """Decides for one gateway."""

    def __init__(self, directory: Directory, rules: Rules = DEFAULT) -> None:
        self.directory = directory
        self.rules = rules
        self.index = PrefixIndex()
        self.breaker = Breaker()
        self.sessions = Sessions()

    def heard(self, beat: Heartbeat, now: float) -> None:
        """A node spoke."""
        changes = self.directory.heard(beat, now)
        if changes.has_restarted:
            self._forget(beat.id)
        for digest in changes.unloaded:
            self.index.forget_model(beat.id, digest)

    def remove(self, node: str) -> None:
        """It is not a member any more."""
        self.directory.remove(node)
        self._forget(node)

    def view(self, now: float) -> View:
        """All nodes, with those marked that get nothing because they failed."""
        view = self.directory.view(now)
        closed = self.breaker.closed_to(now)
        if not closed:
            return view
        nodes = dict(view.nodes)
        nodes.update((node, replace(nodes[node], is_open=True)) for node in closed if node in nodes)
        return replace(view, nodes=nodes)

    def decide(self, wanted: Wanted, now: float) -> Decision:
        """The node for a request, without sending it."""
        view = self.view(now)
        shares = {} if not wanted.keys else self._shares(view, wanted, now)
        pinned = self.sessions.node_of(wanted.session, wanted.model, now)
        return choose(view, wanted, shares, self.rules, pinned=pinned)

    def route(self, wanted: Wanted, now: float) -> Routed:
        """The node for a request that goes there now; to be followed by `ended`, however it ends."""
        decision = self.decide(wanted, now)
        node = self.directory.node(decision.node)
        if node is None:
            return Routed(wanted, decision)
        sent = self.directory.sent(node.id, node.models[wanted.model], now)
        return Routed(wanted, decision, sent, self.breaker.began(node.id, now))

    def answered(self, routed: Routed, now: float, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        """The first byte of an answer came: the prompt is computed there."""
        if routed.sent is None:
            return
        node, digest = routed.sent.node, routed.sent.digest
        self.breaker.succeeded(node, now)
        self.directory.answered(routed.sent, (1 - routed.decision.share) * len(routed.wanted.keys), now)
        self.index.answered(node, digest, routed.wanted.keys, now, keep_alive_s=keep_alive_s)
        self.sessions.keep(routed.wanted.session, routed.wanted.model, node, now)

    def ended(self, routed: Routed, now: float, *, is_whole: bool = True) -> None:
        """An answer ended. `is_whole`: neither the client nor the node broke it off."""
        if routed.sent is not None:
            self.directory.ended(routed.sent, now, is_measured=is_whole)
            if routed.is_trial:
                self.breaker.abandoned(routed.sent.node)

    def failed(self, routed: Routed, status: int | None, now: float) -> None:
        """There was no answer to pass on: a status, or None where the connection failed or broke off."""
        if routed.sent is None:
            return
        self.directory.ended(routed.sent, now, is_measured=False)
        if is_failure(status):
            self.breaker.failed(routed.sent.node, now)
        else:
            self.breaker.succeeded(routed.sent.node, now)

    def _shares(self, view: View, wanted: Wanted, now: float) -> dict[str, float]:
        """Of all nodes that know enough of the prompt; nodes may have different models under one name."""
        held = (view.models or {}).get(wanted.model)
        digests = [wanted.digest] if wanted.digest else list(held.digests) if held else []
        shares: dict[str, float] = {}
        for digest in digests:
            found = self.index.shares(
                digest, wanted.keys, now, answers=wanted.answers, least=self.rules.affinity
            )
            for name, share in found.items():
                node = view.nodes.get(name)
                if node is not None and node.models.get(wanted.model) == digest:
                    shares[name] = share
        return shares

    def _forget(self, node: str) -> None:
        self.index.forget_node(node)
        self.sessions.forget_node(node)
        self.breaker.forget(node)
