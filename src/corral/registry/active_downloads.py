"""Several pulls of one blob share its download. For the event loop; the work is done in threads.

A pull may leave at any time: the download goes on as long as one other waits for it, and ends when the last has left.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence

from corral.digest import Digest
from corral.errors import DiskFullError, RegistryProtocolError
from corral.registry.counts import TransferCounts
from corral.registry.download import BlobDownload, BlobSource
from corral.registry.limits import RateLimit
from corral.registry.part_state import present_bytes
from corral.registry.policy import TransferPolicy
from corral.registry.slots import HostSlots
from corral.store.blobs import BlobStore

OnProgress = Callable[[int], Awaitable[None]]
_CLOSE_S = 10.0


class _Shared:
    def __init__(self, download: BlobDownload, done: asyncio.Future[None]) -> None:
        self.download = download
        self.done = done
        # The limit in bytes a second of each waiter; 0: none.
        self.rates: list[int] = []
        self.is_cancelled = False

    def cancel(self) -> None:
        """Nobody waits any more. A download that has begun saves its state first."""
        self.is_cancelled = True
        self.download.cancel()
        if not self.download.is_begun:
            self.done.cancel()

    def set_rate(self) -> None:
        """The highest limit applies; it costs the other waiters nothing."""
        self.download.limit.set_rate(0 if 0 in self.rates else max(self.rates, default=0))


class Downloads:
    """All downloads of a server into one store."""

    def __init__(
        self,
        blobs: BlobStore,
        policy: TransferPolicy,
        *,
        bytes_per_s: int = 0,
        slots: HostSlots | None = None,
        counts: TransferCounts | None = None,
    ) -> None:
        self._blobs = blobs
        self._slots = slots or HostSlots()
        self._policy = policy
        self._counts = counts
        self._limit = RateLimit(bytes_per_s)
        self._active: dict[str, _Shared] = {}

    def find(self, digest: Digest) -> BlobDownload | None:
        """The download of a blob, if it is under way."""
        shared = self._active.get(digest.hex.lower())
        return shared.download if shared is not None and not shared.is_cancelled else None

    async def fetch(
        self,
        digest: Digest,
        size_bytes: int,
        make_sources: Callable[[], Sequence[BlobSource]],
        on_progress: OnProgress,
        *,
        host: str = "",
        bytes_per_s: int = 0,
    ) -> None:
        """Bring a blob into the store. Reports the bytes that are present: at once, then regularly, never fewer.

        Sources are made only if no other download of the blob is under way. `host` is the registry that the
        download counts for, see `HostSlots`.

        Raises:
            RegistryError, StoreError: see `BlobDownload.run`.
        """
        shared = await self._join(digest, size_bytes, make_sources, host)
        reported = 0
        shared.rates.append(bytes_per_s)
        shared.set_rate()
        try:
            while not shared.done.done():
                reported = max(reported, min(shared.download.completed_bytes, size_bytes))
                await on_progress(reported)
                await asyncio.wait({shared.done}, timeout=self._policy.report_interval_s)
            shared.done.result()
        finally:
            shared.rates.remove(bytes_per_s)
            shared.set_rate()
            if not shared.rates and not shared.done.done():
                shared.cancel()
        await on_progress(size_bytes)

    async def _join(
        self, digest: Digest, size_bytes: int, make_sources: Callable[[], Sequence[BlobSource]], host: str
    ) -> _Shared:
        key = digest.hex.lower()
        while (shared := self._active.get(key)) is not None:
            if shared.download.size_bytes != size_bytes:
                raise RegistryProtocolError(f"two manifests give {digest} different sizes")
            if not shared.is_cancelled:
                return shared
            await asyncio.wait({shared.done})  # its last waiter has left; it is saving its state
            await asyncio.sleep(0)
        download = BlobDownload(
            digest,
            size_bytes,
            self._blobs.path(digest),
            make_sources(),
            policy=self._policy,
            limit=RateLimit(parent=self._limit),
            counts=self._counts,
        )
        done = asyncio.ensure_future(self._slots.run(host, download.run, cancel=download.cancel))
        shared = self._active[key] = _Shared(download, done)
        done.add_done_callback(lambda future: self._forget(key, future))
        return shared

    def resumed_bytes(self, digest: Digest) -> int:
        """How much of a blob was present before its download began; 0 if none is under way."""
        shared = self._active.get(digest.hex.lower())
        return shared.download.resumed_bytes if shared is not None else 0

    def _forget(self, key: str, done: asyncio.Future[None]) -> None:
        self._active.pop(key, None)
        if not done.cancelled():
            done.exception()  # nobody reads the error of a cancelled download

    def check_space(self, wanted: Mapping[Digest, int]) -> None:
        """Check that there is room for these blobs and for all downloads under way.

        Blocks on the disk briefly.

        Raises:
            DiskFullError
        """
        folder = self._blobs.folder
        folder.mkdir(parents=True, exist_ok=True)
        active = {key: shared.download for key, shared in list(self._active.items())}
        promised = sum(max(other.size_bytes - other.completed_bytes, 0) for other in active.values())
        needed_bytes = sum(
            max(size_bytes - present_bytes(self._blobs.path(digest)), 0)
            for digest, size_bytes in wanted.items()
            if digest.hex.lower() not in active
        )
        free_bytes = shutil.disk_usage(folder).free
        if needed_bytes and needed_bytes + promised + needed_bytes // 100 > free_bytes:
            raise DiskFullError(
                f"not enough disk space in {folder}: {_gigabytes(needed_bytes)} to download, "
                f"{_gigabytes(max(free_bytes - promised, 0))} free; free space there, or point OLLAMA_MODELS "
                "to a folder on another disk",
                needed_bytes=needed_bytes,
                free_bytes=free_bytes,
            )

    async def close(self) -> None:
        """End all downloads; what they fetched stays for the next time."""
        shared = list(self._active.values())
        for one in shared:
            one.cancel()
        if shared:
            await asyncio.wait({one.done for one in shared}, timeout=_CLOSE_S)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
