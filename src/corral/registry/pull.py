"""One pull: find the manifest, fetch what is missing, put the manifest in place. Reports steps as Ollama does."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from corral.digest import Digest
from corral.errors import (
    CorralError,
    RegistryAuthError,
    RegistryError,
    RegistryProtocolError,
    RegistryStatusError,
    RegistryUnavailableError,
)
from corral.names import ModelName
from corral.registry.active_downloads import Downloads
from corral.registry.address_filter import AddressGuard, ForbiddenAddressError
from corral.registry.auth import Authorizer, Wallet
from corral.registry.client import RegistryClient
from corral.registry.credentials import Credential
from corral.registry.download import BlobSource
from corral.registry.huggingface import is_sharded_refusal
from corral.registry.manifest import check_list, check_manifest, is_list
from corral.registry.policy import TransferPolicy
from corral.registry.request import TransferRequest
from corral.registry.slots import HostSlots
from corral.registry.source import Endpoint, SourceRules, split_host
from corral.registry.transport import Transport
from corral.registry.variants import PulledModel, choose_variant
from corral.store.changes import anchor_of
from corral.store.manifests import Layer
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced
from corral.store.references import digests_of
from corral.types import Report

_log = logging.getLogger("corral.registry")
_MANIFEST_ATTEMPTS = 4
_MAX_REASON_CHARS = 300


class RegistryContext:
    """What transfers of one server have in common."""

    def __init__(
        self,
        rules: SourceRules,
        wallet: Wallet,
        policy: TransferPolicy,
        trusted: Sequence[tuple[str, int | None]] = (),
    ) -> None:
        self.rules = rules
        self.wallet = wallet
        self.policy = policy
        self.slots = HostSlots()
        self._trusted = tuple(trusted)

    def guard(self, endpoints: Sequence[Endpoint]) -> AddressGuard:
        """Allows connections into private networks only to the hosts that were named."""
        return AddressGuard([split_host(e.host, e.scheme) for e in endpoints], self._trusted)

    def authorizer(self, endpoint: Endpoint, credential: Credential | None) -> Authorizer:
        """Credentials from a request are for the host of its name, not for mirrors."""
        return Authorizer(
            self.wallet,
            endpoint.host,
            is_plain_allowed=endpoint.is_plain_allowed,
            may_use_stored=not endpoint.is_plain_allowed or endpoint.is_plain_configured,
            credential=None if endpoint.is_mirror else credential,
        )


class ShardedRepositoryError(RegistryError):
    """Hugging Face does not serve this repository as a model, because its weights are several files."""


class Source(Protocol):
    """A source of models: registries, and something else in tests and for a pull-through."""

    async def fetch_manifest(self) -> bytes: ...
    async def fetch_manifest_of(self, digest: Digest) -> bytes: ...
    def blob_sources(self) -> Sequence[BlobSource]: ...


class Registries:
    """The endpoints of one name, in the order to try. The one that had the manifest is asked first for blobs."""

    def __init__(
        self, context: RegistryContext, endpoints: Sequence[Endpoint], credential: Credential | None
    ) -> None:
        self._context = context
        self._guard = context.guard(endpoints)
        self._order = [(endpoint, context.authorizer(endpoint, credential)) for endpoint in endpoints]

    def _client(self, endpoint: Endpoint, authorizer: Authorizer) -> RegistryClient:
        return RegistryClient(endpoint, Transport(self._guard, self._context.policy), authorizer)

    async def fetch_manifest(self) -> bytes:
        """Raises RegistryError: the answer of the name's own host, which is asked last, and why no mirror helped."""

        def fetch(client: RegistryClient) -> bytes:
            data = client.fetch_manifest()
            if client.endpoint.is_mirror:  # what it has may not be a model, and the next one's may be
                (check_list if is_list(data) else check_manifest)(data, client.endpoint.repository)
            return data

        return await self._ask_in_turn(fetch)

    async def fetch_manifest_of(self, digest: Digest) -> bytes:
        """One manifest of a list. Raises RegistryError."""
        return await self._ask_in_turn(lambda client: client.fetch_manifest_of(digest))

    async def _ask_in_turn(self, fetch: Callable[[RegistryClient], bytes]) -> bytes:
        passed_over = ""
        for i, (endpoint, authorizer) in enumerate(self._order):
            client = self._client(endpoint, authorizer)
            stopping = threading.Event()

            def cancel(client: RegistryClient = client, stopping: threading.Event = stopping) -> None:
                stopping.set()
                client.cancel()

            def work(client: RegistryClient = client, stopping: threading.Event = stopping) -> bytes:
                try:
                    return _fetch_patiently(lambda: fetch(client), self._context.policy, stopping)
                finally:
                    client.close()

            try:
                data = await self._context.slots.run(endpoint.host, work, cancel=cancel)
            except RegistryError as exc:
                if i == len(self._order) - 1:
                    if not (isinstance(exc, RegistryStatusError) and exc.status == 404):
                        exc.args = (f"{exc}{passed_over}",)
                    raise
                passed_over += f"; mirror {endpoint.base_url}: {str(exc)[:_MAX_REASON_CHARS]}"
                _log.warning("mirror=%s has no manifest, going on: %s", endpoint.base_url, exc)
                continue
            self._order = [*self._order[i:], *self._order[:i]]
            return data
        raise AssertionError("a name has at least one endpoint")

    def blob_sources(self) -> Sequence[RegistryClient]:
        """New connections to all endpoints, the best first."""
        return [self._client(endpoint, authorizer) for endpoint, authorizer in self._order]


def _fetch_patiently(fetch: Callable[[], bytes], policy: TransferPolicy, stopping: threading.Event) -> bytes:
    """A manifest is small: a broken connection is worth a few more attempts, a clear answer is not."""
    for attempt in range(1, _MANIFEST_ATTEMPTS + 1):
        try:
            return fetch()
        except (RegistryAuthError, ForbiddenAddressError, RegistryProtocolError):
            raise
        except RegistryStatusError as exc:
            wait_s = exc.retry_after_s or 0
            is_passing = exc.status in (408, 425, 429, 502, 503, 504) and wait_s <= policy.max_retry_after_s
            if not is_passing or attempt == _MANIFEST_ATTEMPTS:
                raise
            wait_s = max(wait_s, policy.backoff_s(attempt, random.random()))
        except RegistryUnavailableError as exc:
            # No route, no name, nobody listening: that does not pass within seconds, and people wait for the answer.
            if "dial tcp" in str(exc) or "tls:" in str(exc) or attempt == _MANIFEST_ATTEMPTS:
                raise
            wait_s = policy.backoff_s(attempt, random.random())
        if stopping.wait(wait_s):
            break
    return fetch()


class Pull:
    """Brings one model into a store."""

    def __init__(
        self,
        store: ModelStore,
        downloads: Downloads,
        name: ModelName,
        source: Source,
        request: TransferRequest,
        *,
        may_prune: bool,
    ) -> None:
        self._store = store
        self._downloads = downloads
        self._name = name
        self._source = source
        self._request = request
        self._may_prune = may_prune

    async def run(self, report: Report) -> None:
        """Do all that follows `pulling manifest`.

        Raises:
            CorralError: any; the model is as it was before.
        """
        try:
            pulled = await choose_variant(
                self._source.fetch_manifest_of, await self._source.fetch_manifest(), self._name.repository()
            )
        except RegistryError as exc:
            if is_sharded_refusal(self._name.host, exc):
                raise ShardedRepositoryError(f"pull model manifest: {exc}") from exc
            raise CorralError(f"pull model manifest: {exc}", hint=exc.hint) from exc
        layers = (*pulled.manifest.layers, pulled.manifest.config)
        with self._store.pinned({layer.digest for layer in layers} | pulled.document_digests()):
            await self.fetch(layers, report)
            await report({"status": "verifying sha256 digest"})
            # Another program may have deleted blobs that were present when this pull began.
            missing = await asyncio.to_thread(self._missing, layers)
            if missing:
                await self.fetch(missing, report)
            await report({"status": "writing manifest"})
            old = await asyncio.to_thread(self._write, pulled)
            await self._prune(old, report)
        await report({"status": "success"})

    async def fetch(self, layers: Sequence[Layer], report: Report) -> None:
        """Bring all layers into the store, reporting each. Pin them before.

        Raises:
            CorralError
        """
        missing = await asyncio.to_thread(self._missing, layers, is_verifying=self._request.is_verifying)
        await asyncio.to_thread(
            self._downloads.check_space, {layer.digest: layer.size_bytes for layer in missing}
        )
        for layer in layers:
            await self._fetch(layer, report)

    def _missing(self, layers: Sequence[Layer], *, is_verifying: bool = False) -> list[Layer]:
        """Layers that are missing from the store or damaged. The others are marked as used now."""
        missing = []
        for layer in layers:
            path = self._store.blobs.path(layer.digest)
            try:
                size = path.stat().st_size
                is_doubtful = is_verifying or bool(self._store.blobs.problem(layer.digest, layer.size_bytes))
                is_there = size == layer.size_bytes and not (
                    is_doubtful and not self._store.blobs.check(layer.digest)
                )
            except FileNotFoundError:
                missing.append(layer)
                continue
            if is_there:
                self._store.blobs.touch(layer.digest)
                continue
            # A manifest with wrong sizes must not cost another model its weights.
            if size != layer.size_bytes and self._store.blobs.check(layer.digest):
                raise RegistryProtocolError(
                    f"the manifest gives {layer.digest} the size {layer.size_bytes}, but it has {size} bytes"
                )
            _log.warning("blob=%s in the store is not what it should be; fetching it again", layer.digest)
            path.unlink(missing_ok=True)
            missing.append(layer)
        return missing

    async def _fetch(self, layer: Layer, report: Report) -> None:
        digest = str(layer.digest)
        head = {"status": f"pulling {layer.digest.hex[:12]}", "digest": digest, "total": layer.size_bytes}

        async def on_progress(completed: int) -> None:
            if resumed := self._downloads.resumed_bytes(layer.digest):
                head["resumed"] = (
                    resumed  # a member of Corral's own, for clients that show what was present already
                )
            await report({**head, "completed": completed} if completed else head)

        if await asyncio.to_thread(self._store.blobs.has, layer.digest):
            await on_progress(layer.size_bytes)
            return
        if layer.size_bytes == 0:
            await asyncio.to_thread(self._store.blobs.put_bytes, b"")
            await on_progress(0)
            return
        await self._downloads.fetch(
            layer.digest,
            layer.size_bytes,
            self._source.blob_sources,
            on_progress,
            host=self._name.host.lower(),
            bytes_per_s=self._request.bytes_per_s,
        )
        await asyncio.to_thread(self._store.blobs.note_sound, layer.digest)

    def _write(self, pulled: PulledModel) -> set[Digest]:
        """Put the manifest in place; return what only the previous one referred to."""
        manifests = self._store.manifests
        old = digests_of(manifests, self._name)
        data = pulled.data
        if pulled.listed:
            self._store.blobs.put_bytes(data)
            data = anchor_of(self._store, pulled.manifest, pulled.listed)
        manifests.write(self._name, data)
        return old - digests_of(manifests, self._name)

    async def _prune(self, dropped: set[Digest], report: Report) -> None:
        if not dropped or not self._may_prune:
            return
        await report({"status": "removing unused layers"})
        try:
            await asyncio.to_thread(delete_unreferenced, self._store, dropped)
        except OSError as exc:
            await report({"status": f"couldn't remove unused layers: {exc}"})
