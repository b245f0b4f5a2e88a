"""Weights that somebody has written to since they were last checked are compared with their digest once more.

That takes as long as reading them, and happens before they are loaded, not while nothing is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from corral.digest import Digest
from corral.store.blobs import BlobStore
from corral.store.models import Model

_log = logging.getLogger("corral.store")


class Doubts:
    """Settles doubts of one store; requests that wait for the same blob share the work."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._checking: dict[Digest, asyncio.Task[None]] = {}

    async def settle(self, model: Model, kinds: frozenset[str]) -> None:
        """Look at the blobs of these kinds that are in doubt; what is found is noted with the blobs."""
        digests = [layer.digest for layer in model.layers if layer.kind in kinds]
        for digest in await asyncio.to_thread(self._doubtful, digests):
            if (task := self._checking.get(digest)) is None:
                task = asyncio.create_task(asyncio.to_thread(self._check, digest), name=f"check-{digest}")
                self._checking[digest] = task
                task.add_done_callback(partial(self._forget, digest))
            await asyncio.shield(task)

    def _forget(self, digest: Digest, _task: asyncio.Task[None]) -> None:
        self._checking.pop(digest, None)

    def _doubtful(self, digests: list[Digest]) -> list[Digest]:
        found = []
        for digest in digests:
            with suppress(OSError):
                if self._blobs.is_doubtful(digest):
                    found.append(digest)
        return found

    def _check(self, digest: Digest) -> None:
        _log.info("blob=%s was written to since it was verified, verifying it again", digest)
        with suppress(OSError):
            if not self._blobs.check(digest):
                _log.warning("blob=%s does not match its digest; pull or create its models again", digest)
