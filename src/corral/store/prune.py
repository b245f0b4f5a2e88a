"""What a server does to the store when it starts, and which blobs nothing refers to. Ollama: server/fixblobs.go."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from corral.digest import Digest
from corral.errors import InvalidDigestError
from corral.store.locks import lock_file, store_lock
from corral.store.models import ModelStore
from corral.store.workspace import delete_unused, held_digests, recover_workspaces
from corral.translate.cache import ViewCache

__all__ = ["delete_unreferenced", "prepare_store"]

_log = logging.getLogger("corral.store")
_OLD_S = 3600.0
_VERY_OLD_S = 86400.0
# Downloads of large models are interrupted for days; Ollama throws them away after an hour.
_PARTIAL_OLD_S = 7 * 86400.0
# What BlobWriter writes to; the original's temporary names have fewer digits.
_OUR_TEMPORARY = re.compile(r"sha256-\d{18}")
_UNFINISHED = re.compile(r"\..+\.(\d+)\.\d+")
_PARTIAL = re.compile(r"sha256-[0-9a-fA-F]{64}-partial(-\d+)?")


def prepare_store(store: ModelStore, *, may_prune: bool, now_s: float | None = None) -> None:
    """Rename blobs of the old spelling, then remove old files that nothing refers to and empty folders.

    What changes under way in other processes rely on stays; what killed ones left goes, `may_prune` or not. A
    manifest that cannot be read stops all removal: what it refers to is not known.
    """
    now_s = time.time() if now_s is None else now_s
    for name in store.blobs.names():
        if name.startswith("sha256:"):
            with contextlib.suppress(OSError):
                (store.blobs.folder / name).rename(store.blobs.folder / name.replace(":", "-", 1))
    if store.manifests.has_corrupt():
        _log.warning("a manifest is corrupt: nothing is pruned")
        return
    if count := recover_workspaces(store.blobs, store.manifests):
        _log.info("cleaned up after changes that were cut short count=%d", count)
    _remove_unfinished_manifests(store.manifests.folder, now_s)
    if not may_prune:
        return
    with store_lock(store.blobs.folder):
        used = {digest for stored in store.manifests.stored() for digest in stored.manifest.digests()}
        used |= held_digests(store.blobs)
        for name in store.blobs.names():
            path = store.blobs.folder / name
            with contextlib.suppress(OSError):
                if not path.is_dir() and _is_garbage(path, used, now_s):
                    _delete(store, path)
                    _log.info("pruned blob=%s", name)
    ViewCache(store.folder).sweep(used)
    _remove_empty_folders(store.manifests.folder)


def _is_garbage(path: Path, used: set[Digest], now_s: float) -> bool:
    info = path.lstat()
    if _OUR_TEMPORARY.fullmatch(path.name):
        with path.open("rb") as file:
            return lock_file(file)
    # The time of a file that we share is its owner's; when we linked it is what counts.
    is_shared = path.is_symlink() or info.st_nlink > 1
    age_s = now_s - (max(info.st_mtime, info.st_ctime) if is_shared else info.st_mtime)
    if _PARTIAL.fullmatch(path.name):
        return age_s > _PARTIAL_OLD_S
    if age_s <= _OLD_S:
        return False
    try:
        return Digest.parse(path.name) not in used
    except InvalidDigestError:
        return True


def _delete(store: ModelStore, path: Path) -> None:
    try:
        store.blobs.delete(Digest.parse(path.name))
    except InvalidDigestError:
        path.unlink()


def delete_unreferenced(store: ModelStore, digests: Iterable[Digest]) -> None:
    """Delete those of the blobs that no manifest refers to and no change under way relies on."""
    delete_unused(store.blobs, store.manifests, digests)


def _remove_unfinished_manifests(folder: Path, now_s: float) -> None:
    """Files that `write_atomically` of a killed process did not come to rename."""
    for path in folder.rglob(".*") if folder.is_dir() else ():
        match = _UNFINISHED.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if match and (not _is_process(int(match[1])) or now_s - path.lstat().st_mtime > _VERY_OLD_S):
                path.unlink()


def _is_process(number: int) -> bool:
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove_empty_folders(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
