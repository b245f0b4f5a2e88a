"""The handler of `/metrics`."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from corral import caller
from corral.api.http.exchange import Exchange
from corral.errors import ForbiddenError
from corral.metrics.server import ServerMetrics
from corral.metrics.text import content_type, render

_STORE_AGE_S = 30.0


class MetricsHandler:
    """Answers in the format that the client accepts. The store is looked at no more often than twice a minute."""

    def __init__(self, metrics: ServerMetrics, blobs: Path) -> None:
        self._metrics = metrics
        self._blobs = blobs
        self._store_read_s = -_STORE_AGE_S

    async def get(self, exchange: Exchange) -> None:
        if caller.current().models is not None:
            raise ForbiddenError(
                "this API key is bound to some models, and metrics show all", hint="use a key for all models"
            )
        now_s = time.monotonic()
        if now_s - self._store_read_s >= _STORE_AGE_S:
            self._store_read_s = now_s
            self._metrics.store_bytes, self._metrics.free_bytes = await asyncio.to_thread(
                _size_of, self._blobs
            )
        kind = content_type(exchange.header(b"accept"))
        await exchange.respond(200, render(self._metrics.families, kind), kind)


def _size_of(folder: Path) -> tuple[int, int]:
    """Bytes of a folder's files, and how many more there is room for; one that cannot be read counts as empty."""
    try:
        free_bytes = shutil.disk_usage(folder).free
        return sum(entry.stat().st_size for entry in folder.iterdir() if entry.is_file()), free_bytes
    except OSError:
        return 0, 0
