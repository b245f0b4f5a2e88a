"""What a server does to the store when it starts, and which blobs nothing refers to. Ollama: server/fixblobs.go."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path

from corral.digest import Digest
from corral.errors import InvalidDigestError
from corral.store.models import ModelStore

__all__ = ["delete_unreferenced", "prepare_store"]

_log = logging.getLogger("corral.store")
_OLD_S = 3600.0
# Downloads of large models are interrupted for days; Ollama throws them away after an hour.
_PARTIAL_OLD_S = 7 * 86400.0
_PARTIAL = re.compile(r"sha256-[0-9a-fA-F]{64}-partial(-\d+)?")


def prepare_store(store: ModelStore, *, may_prune: bool, now_s: float | None = None) -> None:
    """Rename blobs of the old spelling, then remove old files that nothing refers to and empty folders.

    A manifest that cannot be read stops all removal: what it refers to is not known.
    """
    now_s = time.time() if now_s is None else now_s
    for name in store.blobs.names():
        if name.startswith("sha256:"):
            with contextlib.suppress(OSError):
                (store.blobs.folder / name).rename(store.blobs.folder / name.replace(":", "-", 1))
    if not may_prune:
        return
    if store.manifests.has_corrupt():
        _log.warning("a manifest is corrupt: nothing is pruned")
        return
    used = _used(store)
    for name in store.blobs.names():
        path = store.blobs.folder / name
        with contextlib.suppress(OSError):
            if path.is_file() and _is_garbage(path, used, now_s):
                path.unlink()
                _log.info("pruned blob=%s", name)
    _remove_empty_folders(store.manifests.folder)


def _is_garbage(path: Path, used: set[Digest], now_s: float) -> bool:
    age_s = now_s - path.stat().st_mtime
    if _PARTIAL.fullmatch(path.name):
        return age_s > _PARTIAL_OLD_S
    if age_s <= _OLD_S:
        return False
    try:
        return Digest.parse(path.name) not in used
    except InvalidDigestError:
        return True


def _used(store: ModelStore) -> set[Digest]:
    referenced = {digest for stored in store.manifests.stored() for digest in stored.manifest.digests()}
    return referenced | set(+store.pins)


def delete_unreferenced(store: ModelStore, digests: Iterable[Digest]) -> None:
    """Delete those of the blobs that no manifest refers to."""
    candidates = set(digests)
    if not candidates:
        return
    used = _used(store)
    for digest in candidates - used:
        store.blobs.delete(digest)


def _remove_empty_folders(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
