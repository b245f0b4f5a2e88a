"""What a gateway counts: where requests went and why, second attempts, nodes that are heard, and the time it took."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from corral.cluster.peers.peer import Standing
from corral.cluster.peers.peers import Peers
from corral.metrics.instruments import Counter, Family, Gauge, Histogram, Sample

_ROUTING_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
# Names come from other servers.
_MAX_NODES = 1000
_OTHER = "other"


class ClusterMetrics:
    """Belongs to the event loop."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._known: set[str] = set()
        self.requests = Counter(
            "corral_cluster_requests_total",
            "Requests by the node that they were sent to, and why.",
            "node",
            "why",
        )
        self.retries = Counter(
            "corral_cluster_retries_total",
            "Requests that went on to another node, by how one failed.",
            "node",
            "reason",
        )
        self.routing = Histogram(
            "corral_cluster_routing_seconds", "From a request's body to its way to a node.", _ROUTING_S
        )

    def routed(self, node: str, why: str, seconds: float, *, is_first: bool) -> None:
        self.requests.add(1, self._label(node), why)
        if is_first:
            self.routing.observe(seconds)

    def retried(self, node: str, reason: str) -> None:
        self.retries.add(1, self._label(node), reason)

    def families(self) -> list[Family]:
        node = ("node",)
        return [
            self.requests,
            self.retries,
            self.routing,
            Gauge("corral_cluster_node_up", "Whether a node is heard.", node, self._up),
            Gauge(
                "corral_cluster_breaker_open",
                "Whether a node gets nothing because it failed.",
                node,
                self._open,
            ),
        ]

    def _up(self) -> Iterable[Sample]:
        for peer in self._peers:
            yield (self._label(peer.name or peer.member.url),), int(peer.standing is Standing.HEARD)

    def _open(self) -> Iterable[Sample]:
        view = self._peers.router.view(asyncio.get_running_loop().time())
        for node in view.nodes.values():
            yield (self._label(node.id),), int(node.is_open)

    def _label(self, node: str) -> str:
        if node in self._known or len(self._known) < _MAX_NODES:
            self._known.add(node)
            return node
        return _OTHER
