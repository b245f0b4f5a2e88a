"""A workspace for an asynchronous change of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corral.store.models import ModelStore
from corral.store.workspace import Workspace
from corral.threads import in_thread


@asynccontextmanager
async def working(store: ModelStore) -> AsyncIterator[Workspace]:
    """A workspace; if the change fails or is cancelled, everything it added to the store is deleted."""
    opening = asyncio.ensure_future(asyncio.to_thread(Workspace, store.blobs))
    try:
        workspace = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait({opening})
        if opening.exception() is None:
            await in_thread(opening.result().close)
        raise
    try:
        yield workspace
    except BaseException:
        await in_thread(workspace.delete_unused, store.manifests, workspace.added)
        await in_thread(workspace.close)
        raise
    await in_thread(workspace.close)
