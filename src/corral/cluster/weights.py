"""What the cluster knows of models, for pulls: see `registry.peers.PeerModels`."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from corral.cluster.agreement import agreed_digest, nodes_by_digest
from corral.cluster.membership import Member
from corral.cluster.view import View
from corral.names import ModelName
from corral.registry.request import Peer

_HEX_DIGITS = 64


class ClusterModels:
    """For any thread: `view` gives what is known at this moment, and does not block.

    `member` has the address of a node by its name, None for one that is not another server; `key` is what is shown to
    the server at an address.
    """

    def __init__(
        self,
        own_name: str,
        view: Callable[[], View],
        member: Callable[[str], Member | None],
        key: Callable[[str], str],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.own_name = own_name
        self.tls = tls
        self._view = view
        self._member = member
        self._key = key

    def key(self, url: str) -> str:
        return self._key(url)

    def digest(self, name: ModelName) -> str:
        """The digest of the manifest that holds for a name; empty: no other node has the model."""
        found = agreed_digest(self._view(), name.full())
        return found if len(found) == _HEX_DIGITS and self.holders(name, found) else ""

    def holders(self, name: ModelName, digest_hex: str) -> Sequence[Peer]:
        """Other nodes that have this manifest under the name. Draining ones serve weights too."""
        nodes = nodes_by_digest(self._view(), name.full()).get(digest_hex, [])
        found = ((node, self._member(node)) for node in nodes if node != self.own_name)
        return [Peer(node, member.url, member.tls_name) for node, member in found if member is not None]
