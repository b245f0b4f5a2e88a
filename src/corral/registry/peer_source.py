"""A model from the peers that have it, and from its registry where they cannot help."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from corral.digest import Digest
from corral.errors import RegistryAuthError, RegistryError, RegistryProtocolError, RegistryUnavailableError
from corral.names import ModelName
from corral.registry.client import RegistryClient
from corral.registry.counts import PeerCounts
from corral.registry.download import BlobSource
from corral.registry.manifest import check_list, check_manifest, is_list
from corral.registry.peers import PeerModels, PeerRates, connect_peer, hosted_repository
from corral.registry.policy import TransferPolicy
from corral.registry.pull import Registries
from corral.registry.request import Peer
from corral.registry.slots import HostSlots
from corral.registry.swarm import PeerBlobs

_log = logging.getLogger("corral.registry")


class PeersFirst:
    """The source of one pull. `registries` is None where no registry may be contacted.

    `is_missing`: this server does not have the model, so the manifest that the cluster has is the one to get. Where
    it has the model, a pull asks the registry for a newer one, and peers only for blobs.
    """

    def __init__(
        self,
        name: ModelName,
        models: PeerModels,
        registries: Registries | None,
        *,
        rates: PeerRates,
        policy: TransferPolicy,
        slots: HostSlots,
        is_missing: bool,
        counts: PeerCounts | None = None,
    ) -> None:
        self._name = name
        self._models = models
        self._registries = registries
        self._rates = rates
        self._policy = policy
        self._slots = slots
        self._is_missing = is_missing
        self._counts = counts
        self._digest_hex = ""
        self._distrusted: set[str] = set()

    async def fetch_manifest(self) -> bytes:
        """The manifest that holds in the cluster, else the registry's. Raises RegistryError."""
        if self._is_missing or self._registries is None:
            self._digest_hex = self._models.digest(self._name)
        if self._digest_hex:
            data = await self._from_peers(Digest.parse(f"sha256:{self._digest_hex}"))
            if data is not None:
                return data
        data = await self._outside().fetch_manifest()
        self._digest_hex = Digest.of(data).hex
        return data

    async def fetch_manifest_of(self, digest: Digest) -> bytes:
        """One manifest of a list. Raises RegistryError."""
        data = await self._from_peers(digest)
        return await self._outside().fetch_manifest_of(digest) if data is None else data

    def blob_sources(self) -> Sequence[BlobSource]:
        outside: list[BlobSource] = [*self._registries.blob_sources()] if self._registries else []
        if not self._holders() and outside:
            return outside
        peers = PeerBlobs(
            self._holders,
            self._connect,
            self._rates,
            self._policy,
            distrusted=self._distrusted,
            counts=self._counts,
        )
        return [peers, *outside]

    def _holders(self) -> Sequence[Peer]:
        return self._models.holders(self._name, self._digest_hex)

    def _connect(self, peer: Peer) -> RegistryClient:
        return connect_peer(peer, self._name, self._models, self._policy)

    def _outside(self) -> Registries:
        if self._registries is None:
            raise RegistryUnavailableError(
                f"no peer has {self._name.short()}, and this server is offline (CORRAL_OFFLINE)"
            )
        return self._registries

    async def _from_peers(self, digest: Digest) -> bytes | None:
        """A manifest by its digest, from the first peer that can send it; the fastest is asked first."""
        for peer in self._rates.fastest_first(self._holders()):
            if peer.name in self._distrusted:
                continue
            try:
                return await self._ask(peer, lambda client: self._checked(client, digest))
            except RegistryError as error:
                _log.warning("peer=%s has no manifest for %s: %s", peer.name, self._name.short(), error)
                if isinstance(error, RegistryAuthError | RegistryProtocolError):
                    self._distrusted.add(peer.name)
        return None

    def _checked(self, client: RegistryClient, digest: Digest) -> bytes:
        data = client.fetch_manifest_of(digest)
        (check_list if is_list(data) else check_manifest)(data, hosted_repository(self._name))
        return data

    async def _ask(self, peer: Peer, fetch: Callable[[RegistryClient], bytes]) -> bytes:
        client = self._connect(peer)

        def work() -> bytes:
            try:
                return fetch(client)
            finally:
                client.close()

        return await self._slots.run(peer.url, work, cancel=client.cancel)
