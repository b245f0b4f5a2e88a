"""The package's entry point for a server: one set of rules, credentials and downloads, made from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from corral.config import Settings
from corral.errors import CorralError, CorruptManifestError, RegistryError
from corral.names import ModelName
from corral.registry.active_downloads import Downloads
from corral.registry.auth import Wallet
from corral.registry.client import RegistryClient
from corral.registry.counts import TransferCounts
from corral.registry.credentials import Credential, DockerCredentials, default_docker_config
from corral.registry.huggingface import RepositorySource, choose_files, fetch_listing, file_url
from corral.registry.key import default_key_path
from corral.registry.limits import RateLimit
from corral.registry.peer_source import PeersFirst
from corral.registry.peers import PeerModels, PeerRates
from corral.registry.policy import TransferPolicy
from corral.registry.pull import Pull, Registries, RegistryContext, ShardedRepositoryError, Source
from corral.registry.push import Push
from corral.registry.request import TransferRequest
from corral.registry.source import SourceRules
from corral.registry.transport import Transport
from corral.registry.upload import UploadSessions
from corral.registry.variants import choose_variant
from corral.store.manifests import Layer
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced
from corral.types import Report

Assemble = Callable[[dict[str, str]], Awaitable[None]]
_NS_PER_S = 1_000_000_000
_FIRST_STREAMS = TransferPolicy().first_streams


class Gateway:
    """Pulls and pushes for one store."""

    def __init__(
        self,
        settings: Settings,
        store: ModelStore,
        counts: TransferCounts | None = None,
        peers: PeerModels | None = None,
    ) -> None:
        """Raises CorralError: a setting that names registries is invalid."""
        self._peers = peers
        self._peer_rates = PeerRates()
        self._peer_counts = counts.peers if counts is not None else None
        self._is_offline = settings.is_offline
        policy = TransferPolicy(
            stall_timeout_s=settings.pull_stall_timeout_ns / _NS_PER_S,
            retry_delay_s=settings.pull_retry_delay_ns / _NS_PER_S,
            **_streams(settings.transfer_streams),
        )
        docker = DockerCredentials(default_docker_config())
        trusted = [_host_and_port(entry) for entry in settings.registry_trusted_hosts]
        wallet = Wallet(
            default_key_path(),
            docker.find,
            hugging_face_token=settings.hugging_face_token,
            trusted_hosts=frozenset(map(str.lower, settings.registry_trusted_hosts)),
        )
        rules = SourceRules.parse(settings.registry, settings.registry_mirrors)
        self._context = RegistryContext(rules, wallet, policy, trusted)
        self._store = store
        self._may_prune = not settings.no_prune
        self._upload_sessions: UploadSessions = {}
        self.downloads = Downloads(
            store.blobs,
            policy,
            bytes_per_s=settings.pull_bytes_per_s,
            slots=self._context.slots,
            counts=counts,
        )

    async def pull(
        self, name: ModelName, report: Report, request: TransferRequest, assemble: Assemble
    ) -> None:
        """Do what follows `pulling manifest`.

        `assemble` makes a model of files by name and digest; it is called for repositories that are not a model yet.

        Raises:
            CorralError
        """
        source = await self._source(name, request)
        pull = Pull(self._store, self.downloads, name, source, request, may_prune=self._may_prune)
        try:
            await pull.run(report)
        except ShardedRepositoryError as refused:
            await self._pull_files(name, report, request, assemble, refused)

    async def _source(self, name: ModelName, request: TransferRequest) -> Source:
        """The registries of a name, and before them the peers that have the model."""
        registries = None
        if not self._is_offline:
            endpoints = self._context.rules.endpoints(name, is_insecure=request.is_insecure)
            registries = Registries(self._context, endpoints, _credential(request))
        if self._peers is None:
            assert registries is not None, "a server that is offline pulls from peers only"
            return registries
        return PeersFirst(
            name,
            self._peers,
            registries,
            rates=self._peer_rates,
            policy=self._context.policy,
            slots=self._context.slots,
            is_missing=not await asyncio.to_thread(self._store.manifests.entries, name),
            counts=self._peer_counts,
        )

    async def _pull_files(
        self,
        name: ModelName,
        report: Report,
        request: TransferRequest,
        assemble: Assemble,
        refused: ShardedRepositoryError,
    ) -> None:
        """Fetch the files of a sharded repository and have a model made of them."""
        endpoint = self._context.rules.origin(name, is_insecure=request.is_insecure)
        guard = self._context.guard([endpoint])
        authorizer = self._context.authorizer(endpoint, _credential(request))

        def new_client() -> RegistryClient:
            return RegistryClient(endpoint, Transport(guard, self._context.policy), authorizer)

        client = new_client()
        try:
            listing = await self._context.slots.run(
                endpoint.host, lambda: fetch_listing(client), cancel=client.cancel
            )
            files = choose_files(listing, name.tag)
        except RegistryError as exc:
            raise CorralError(f"{refused}; its files cannot be pulled either: {exc}", hint=exc.hint) from exc
        finally:
            client.close()
        source = RepositorySource(new_client, {file.digest: file_url(client, file) for file in files})
        pull = Pull(self._store, self.downloads, name, source, request, may_prune=self._may_prune)
        layers = [Layer("application/vnd.ollama.image.model", file.digest, file.size_bytes) for file in files]
        with self._store.pinned({layer.digest for layer in layers}):
            await pull.fetch(layers, report)
            await report({"status": "verifying sha256 digest"})
            await assemble({file.name: str(file.digest) for file in files})
        # The files that were merged are not part of the model.
        await asyncio.to_thread(delete_unreferenced, self._store, [layer.digest for layer in layers])
        await report({"status": "success"})

    async def fetch_manifest(self, name: ModelName) -> bytes:
        """The bytes of a valid manifest; of a list, those of the variant for this machine. Raises RegistryError."""
        endpoints = self._context.rules.endpoints(name, is_insecure=False)
        registries = Registries(self._context, endpoints, None)
        data = await registries.fetch_manifest()
        return (await choose_variant(registries.fetch_manifest_of, data, name.repository())).data

    async def push(self, name: ModelName, report: Report, request: TransferRequest) -> None:
        """Do what follows `retrieving manifest`. Raises CorralError."""
        try:
            stored = await asyncio.to_thread(self._store.manifests.read, name)
        except (OSError, CorruptManifestError) as exc:
            await report({"status": "couldn't retrieve manifest"})
            raise CorralError(str(exc)) from exc
        endpoint = self._context.rules.origin(name, is_insecure=request.is_insecure)
        authorizer = self._context.authorizer(endpoint, _credential(request))
        transport = Transport(self._context.guard([endpoint]), self._context.policy)
        client = RegistryClient(endpoint, transport, authorizer)
        limit = RateLimit(request.bytes_per_s)
        push = Push(
            self._store,
            client,
            policy=self._context.policy,
            limit=limit,
            sessions=self._upload_sessions,
            slots=self._context.slots,
        )
        try:
            await push.run(stored.manifest, report)
        finally:
            transport.close()

    async def close(self) -> None:
        await self.downloads.close()


def _streams(most: int) -> dict[str, int]:
    """How many parts of a blob are downloaded at a time, at first and at most; 0: as the policy says."""
    return {"first_streams": min(most, _FIRST_STREAMS), "max_streams": most} if most else {}


def _credential(request: TransferRequest) -> Credential | None:
    return Credential(request.username, request.password) if request.username else None


def _host_and_port(text: str) -> tuple[str, int | None]:
    """A host that registries may point to; without a port, any port."""
    host, colon, port = text.lower().rpartition(":")
    if colon and port.isdigit() and not host.endswith(":"):
        return host.strip("[]"), int(port)
    return text.lower().strip("[]"), None
