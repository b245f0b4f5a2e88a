"""Pull-through: a missing model that another machine asks for is downloaded from its registry, once, and kept.

The client gets the manifest as soon as the upstream registry has answered. At that moment a pull of the whole model
starts, and the blobs that the client asks for are forwarded as they arrive. These bytes are not verified yet: the
client compares the digest, as with any registry, and so does the pull before it keeps a blob.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corral.digest import Digest
from corral.errors import CorralError, ModelNotFoundError, RegistryStatusError, RegistryUnavailableError
from corral.library.registry_server import HostedManifest, Hosting, UnknownBlobError, hosted_manifest
from corral.names import DEFAULT_HOST, DEFAULT_TAG, ModelName
from corral.registry.manifest import check_manifest
from corral.store.models import ModelStore

if TYPE_CHECKING:
    from corral.library.pull import Puller
    from corral.registry.client_pool import Gateway
    from corral.registry.download import BlobDownload

_log = logging.getLogger("corral.pull_through")
_HOSTS = frozenset({DEFAULT_HOST, "hf.co", "huggingface.co"})
_READ_BYTES = 1 << 20
_POLL_S = 0.05
# Clients give up after half a minute; one that would wait longer than this is gone.
_STALL_S = 120.0
_MAX_KNOWN_BLOBS = 10_000


Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GrowingBlob:
    """A blob that is complete or being downloaded: its size, and how to send a range of it as it arrives."""

    size_bytes: int
    send: Callable[[int, int, Write], Awaitable[None]]


class PullThrough:
    """Owns the pulls started by requests of other machines. `close` cancels them; a later request resumes them."""

    def __init__(
        self,
        store: ModelStore,
        hosting: Hosting,
        puller: Puller,
        open_gateway: Callable[[], Awaitable[Gateway]],
        *,
        trusted_hosts: tuple[str, ...] = (),
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._puller = puller
        self._open_gateway = open_gateway
        # Only these hosts: another machine must not make us contact addresses of its choice.
        self._hosts = _HOSTS | {host.lower() for host in trusted_hosts}
        self._pulls: dict[ModelName, asyncio.Task[None]] = {}
        self._sizes: dict[Digest, tuple[int, ModelName]] = {}

    async def manifest(self, repository: str, reference: str, origin: str) -> HostedManifest:
        """The manifest from upstream; when this returns, the pull of the model has started.

        Raises:
            ModelNotFoundError: upstream does not have it either, or the host is not allowed.
            CorralError: upstream cannot be reached.
        """
        name = await asyncio.to_thread(self._hosting.name_of, repository, DEFAULT_TAG, origin)
        if ":" in reference or name.host.lower() not in self._hosts:
            raise ModelNotFoundError(repository, "manifest unknown")
        name = await asyncio.to_thread(self._hosting.name_of, repository, reference, origin)
        gateway = await self._open_gateway()
        try:
            data = await gateway.fetch_manifest(name)
        except RegistryStatusError as exc:
            if exc.status == 404:
                raise ModelNotFoundError(repository, "manifest unknown") from None
            raise
        manifest = check_manifest(data, repository)
        for layer in (manifest.config, *manifest.layers):
            self._sizes.pop(layer.digest, None)
            self._sizes[layer.digest] = (layer.size_bytes, name)
        while len(self._sizes) > _MAX_KNOWN_BLOBS:
            del self._sizes[next(iter(self._sizes))]
        self._begin(name)
        return hosted_manifest(data)

    async def blob(self, digest: Digest) -> GrowingBlob:
        """A blob of a model whose manifest was requested before.

        Raises:
            UnknownBlobError
        """
        known = self._sizes.get(digest)
        if known is None:
            raise UnknownBlobError(digest)
        size_bytes, name = known
        self._begin(name)
        return GrowingBlob(
            size_bytes, lambda first, last, write: self._send(digest, name, first, last, write)
        )

    async def close(self) -> None:
        for task in self._pulls.values():
            task.cancel()
        await asyncio.gather(*self._pulls.values(), return_exceptions=True)

    def _begin(self, name: ModelName) -> None:
        if name not in self._pulls:
            task = asyncio.create_task(self._pull(name), name=f"pull-through {name}")
            self._pulls[name] = task
            task.add_done_callback(lambda _done: self._pulls.pop(name, None))

    async def _pull(self, name: ModelName) -> None:
        async def quiet(_event: dict[str, object]) -> None:
            """Drops the progress messages."""

        try:
            await self._puller.pull(name, quiet)
            _log.info("mirrored model=%s", name.full())
        except (CorralError, OSError) as exc:
            _log.warning("mirroring failed model=%s error=%s", name.full(), exc)

    async def _send(self, digest: Digest, name: ModelName, first: int, last: int, write: Write) -> None:
        """Write the bytes from `first` to `last` as they arrive.

        Raises:
            RegistryUnavailableError: the pull has failed, or received nothing for a long time.
        """
        handle, pos = -1, first
        waited_s = 0.0
        gateway = await self._open_gateway()
        try:
            while pos <= last:
                download = gateway.downloads.find(digest)
                if handle < 0:
                    handle = await asyncio.to_thread(self._open, digest, download)
                is_whole = self._store.blobs.has(digest)
                available = last + 1 - pos if is_whole else download.growing(pos)[1] if download else 0
                if handle < 0 or available <= 0:
                    if (name not in self._pulls and not is_whole) or waited_s > _STALL_S:
                        raise RegistryUnavailableError(f"the upstream registry does not send {digest}")
                    waited_s += _POLL_S
                    await asyncio.sleep(_POLL_S)
                    continue
                waited_s = 0.0
                count = min(available, last + 1 - pos, _READ_BYTES)
                data = await asyncio.to_thread(os.pread, handle, count, pos)
                if not data:
                    raise RegistryUnavailableError(f"the download of {digest} was restarted")
                pos += len(data)
                await write(data)
        finally:
            if handle >= 0:
                os.close(handle)

    def _open(self, digest: Digest, download: BlobDownload | None) -> int:
        """The open file of a blob, complete or not; -1 if there is none yet. It survives a rename."""
        for path in (self._store.blobs.path(digest), download.growing(0)[0] if download else None):
            if path is not None:
                with contextlib.suppress(FileNotFoundError):
                    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return -1
