"""The other servers of a cluster as sources of models: who has what, how fast each of them was, and how to ask it.

Who has what comes from outside of this package: the cluster watches its nodes, and implements `PeerModels`.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from corral.errors import RegistryAuthError
from corral.names import DEFAULT_HOST, ModelName
from corral.registry.address_filter import AddressGuard
from corral.registry.challenge import Challenge
from corral.registry.client import RegistryClient
from corral.registry.policy import TransferPolicy
from corral.registry.request import PEER_HEADER, Peer
from corral.registry.source import Endpoint, split_host
from corral.registry.transport import Transport

# A peer is near: one that is silent for this long is worth less than the next one.
_CONNECT_S = 3.0
_SILENCE_S = 10.0
_WEIGHT = 0.3


class PeerModels(Protocol):
    """What the cluster knows now. Asked from any thread, and never blocks."""

    @property
    def own_name(self) -> str: ...

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What certificates of peers are checked with; None: the system's authorities."""
        ...

    def key(self, url: str) -> str:
        """The cluster's key, which the peer at this address is asked with; empty: none."""
        ...

    def digest(self, name: ModelName) -> str:
        """The SHA-256 of the manifest that holds for a name, in hexadecimal digits; empty: no peer has the model."""
        ...

    def holders(self, name: ModelName, digest_hex: str) -> Sequence[Peer]:
        """The peers that can be asked for a model with this manifest."""
        ...


class PeerRates:
    """How fast each peer was: bytes a second of one stream, the newest measurements weighing most. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rates: dict[str, float] = {}

    def note(self, peer: str, count: int, seconds: float) -> None:
        if count <= 0 or seconds <= 0:
            return
        with self._lock:
            known = self._rates.get(peer)
            rate = count / seconds
            self._rates[peer] = rate if known is None else known + _WEIGHT * (rate - known)

    def rate(self, peer: str) -> float:
        """A peer that was never asked counts as an average one; 1 if none was."""
        with self._lock:
            if peer in self._rates:
                return self._rates[peer]
            return sum(self._rates.values()) / len(self._rates) if self._rates else 1.0

    def fastest_first(self, peers: Iterable[Peer]) -> list[Peer]:
        """Equal ones in the order in which they came."""
        return sorted(peers, key=lambda peer: -self.rate(peer.name))


class ClusterKey:
    """Sends the cluster's key with every request; it is the only one that peers get."""

    def __init__(self, key: str, peer: str) -> None:
        self._header = f"Bearer {key}" if key else None
        self._peer = peer

    def header(self) -> str | None:
        return self._header

    def renew(self, challenges: list[Challenge], *, refused: str | None, transport: Transport) -> str:
        """Raises RegistryAuthError: there is no other key."""
        raise self.denied()

    def denied(self) -> RegistryAuthError:
        return RegistryAuthError(
            f"the peer {self._peer} refuses the key of the cluster",
            hint="give all servers of the cluster the same key file",
        )


def hosted_repository(name: ModelName) -> str:
    """What a Corral server calls the repository of a model (see `library/registry_server.py`)."""
    return name.repository() if name.host == DEFAULT_HOST else f"{name.host}/{name.repository()}"


def peer_policy(policy: TransferPolicy) -> TransferPolicy:
    """Less patient than with a registry: there is another peer, or the registry."""
    return replace(
        policy,
        connect_timeout_s=min(policy.connect_timeout_s, _CONNECT_S),
        head_timeout_s=min(policy.head_timeout_s, _SILENCE_S),
        stall_timeout_s=min(policy.stall_timeout_s, _SILENCE_S),
    )


def connect_peer(peer: Peer, name: ModelName, models: PeerModels, policy: TransferPolicy) -> RegistryClient:
    """A client for one model at one peer. Peers are reached directly, never through a proxy."""
    is_plain = peer.url.startswith("http://")
    endpoint = Endpoint(peer.url, hosted_repository(name), name.tag, is_plain, is_plain)
    guard = AddressGuard(trusted=[split_host(endpoint.host, endpoint.scheme)])
    transport = Transport(
        guard, peer_policy(policy), uses_proxy=False, tls=models.tls, tls_name=peer.tls_name
    )
    key = ClusterKey(models.key(peer.url), peer.name)
    return RegistryClient(endpoint, transport, key, headers={PEER_HEADER: models.own_name})
