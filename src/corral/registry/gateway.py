"""The package's front door for a server: one set of rules, credentials and downloads, made from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from corral.config import Settings
from corral.errors import CorralError, CorruptManifestError
from corral.names import ModelName
from corral.registry.auth import Wallet
from corral.registry.client import RegistryClient
from corral.registry.credentials import Credential, DockerCredentials, default_docker_config
from corral.registry.key import default_key_path
from corral.registry.limits import RateLimit
from corral.registry.policy import TransferPolicy
from corral.registry.pull import Pull, Registries, RegistryContext
from corral.registry.push import Push
from corral.registry.request import TransferRequest
from corral.registry.sharing import Downloads
from corral.registry.source import SourceRules
from corral.registry.transport import Transport
from corral.registry.upload import UploadSessions
from corral.store.models import ModelStore

__all__ = ["Gateway"]

Report = Callable[[dict[str, Any]], Awaitable[None]]
_NS_PER_S = 1_000_000_000


class Gateway:
    """Pulls and pushes for one store."""

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        """Raises CorralError: a setting that names registries is not sound."""
        policy = TransferPolicy(
            stall_timeout_s=settings.pull_stall_timeout_ns / _NS_PER_S,
            retry_delay_s=settings.pull_retry_delay_ns / _NS_PER_S,
        )
        docker = DockerCredentials(default_docker_config())
        trusted = [_host_and_port(entry) for entry in settings.registry_trusted_hosts]
        wallet = Wallet(
            default_key_path(), docker.find, frozenset(map(str.lower, settings.registry_trusted_hosts))
        )
        rules = SourceRules.parse(settings.registry, settings.registry_mirrors)
        self._context = RegistryContext(rules, wallet, policy, trusted)
        self._store = store
        self._may_prune = not settings.no_prune
        self._upload_sessions: UploadSessions = {}
        self.downloads = Downloads(store.blobs, policy, bytes_per_s=settings.pull_bytes_per_s)

    async def pull(self, name: ModelName, report: Report, request: TransferRequest) -> None:
        """Do what follows `pulling manifest`. Raises CorralError."""
        endpoints = self._context.rules.endpoints(name, is_insecure=request.is_insecure)
        registries = Registries(self._context, endpoints, _credential(request))
        pull = Pull(self._store, self.downloads, name, registries, request, may_prune=self._may_prune)
        await pull.run(report)

    async def fetch_manifest(self, name: ModelName) -> bytes:
        """The bytes of a manifest, unchecked. Raises RegistryError."""
        endpoints = self._context.rules.endpoints(name, is_insecure=False)
        return await Registries(self._context, endpoints, None).fetch_manifest()

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
            self._store, client, policy=self._context.policy, limit=limit, sessions=self._upload_sessions
        )
        try:
            await push.run(stored.manifest, report)
        finally:
            transport.close()

    async def close(self) -> None:
        await self.downloads.close()


def _credential(request: TransferRequest) -> Credential | None:
    return Credential(request.username, request.password) if request.username else None


def _host_and_port(text: str) -> tuple[str, int | None]:
    """A host that registries may point to; without a port, on any."""
    host, colon, port = text.lower().rpartition(":")
    if colon and port.isdigit() and not host.endswith(":"):
        return host.strip("[]"), int(port)
    return text.lower().strip("[]"), None
