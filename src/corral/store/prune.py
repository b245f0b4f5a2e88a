"""What a server does to the store when it starts, and which blobs nothing refers to. Ollama: server/fixblobs.go."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from corral.digest import Digest
from corral.errors import InvalidDigestError
from corral.store.locks import lock_file, store_lock
from corral.store.models import ModelStore
from corral.store.orphans import Orphans
from corral.store.references import References, survey, survey_for_sweep
from corral.store.trees import UNFINISHED
from corral.store.workspace import delete_unused, held_digests, recover_workspaces

_log = logging.getLogger("corral.store")
_OLD_S = 3600.0
_VERY_OLD_S = 86400.0
# Downloads of large models may be interrupted for days; Ollama deletes them after an hour.
_PARTIAL_OLD_S = 7 * 86400.0
# What BlobWriter writes to; Ollama's temporary names have fewer digits.
_OUR_TEMPORARY = re.compile(r"sha256-\d{18}")
_PARTIAL = re.compile(r"sha256-[0-9a-fA-F]{64}-partial(-\d+)?")
_BLOB = re.compile(r"sha256-[0-9a-fA-F]{64}")
_OLD_BLOB = re.compile(r"sha256:[0-9a-fA-F]{64}")
# Unfinished files of Ollama: blobs, tensors, steps of a create. Files with other names are left alone.
_TEMPORARY = re.compile(
    r"sha256-\d{1,17}|sha256-[0-9a-fA-F]{64}\.tmp"
    r"|(COPY|split-copy|projector-metadata|compat-tensors|F16|F32|BF16|Q4_0|Q4_K_[SM]|Q8_0)-?\d{6,}"
)


def prepare_store(store: ModelStore, *, may_prune: bool, now_s: float | None = None) -> None:
    """Give blobs of the old spelling their new name, then remove old files that nothing refers to and empty folders.

    Whatever changes under way in other processes rely on is kept; what killed processes left is removed, `may_prune`
    or not. Nothing is removed while it is not clear what is in use, or while there is no manifest at all: the
    manifests may be on a disk that is not mounted.
    """
    now_s = time.time() if now_s is None else now_s
    _respell_blobs(store)
    references = survey(store.manifests)
    if references.unclear:
        references.warn()
        return
    if count := recover_workspaces(store.blobs, store.manifests):
        _log.info("cleaned up after changes that were cut short count=%d", count)
    store.blobs.kept.expire(now_s)
    store.blobs.checked.tidy(store.blobs.folder)
    _remove_unfinished_blobs(store)
    _remove_unfinished_manifests(store.manifests.folder, now_s)
    if references.manifest_count == 0:
        _keep_orphans(store)
    elif may_prune:
        _sweep(store, now_s)


def _respell_blobs(store: ModelStore) -> None:
    """Blobs are called `sha256-...`; until version 0.1.29 Ollama called them `sha256:...`.

    Later versions rename them, after which the old one finds none. Here both names stay, of one file.
    """
    for name in store.blobs.names():
        new = store.blobs.folder / name.replace(":", "-", 1)
        if _OLD_BLOB.fullmatch(name) and not os.path.lexists(new):
            old = store.blobs.folder / name
            try:
                new.hardlink_to(old)
            except OSError:  # a file system without hard links
                with contextlib.suppress(OSError):
                    old.rename(new)


def _remove_unfinished_blobs(store: ModelStore) -> None:
    """Files of `BlobWriter`s whose process was killed: they are not locked."""
    with store_lock(store.blobs.folder):
        for name in store.blobs.names():
            path = store.blobs.folder / name
            if _OUR_TEMPORARY.fullmatch(name):
                with contextlib.suppress(OSError), path.open("rb") as file:
                    if lock_file(file):
                        path.unlink()


def _keep_orphans(store: ModelStore) -> None:
    """Record blobs in a folder without manifests, so that they are kept when there is one again."""
    kept = {f"sha256-{text}" for text in store.blobs.kept.hexes()}
    orphans = [name for name in store.blobs.names() if _BLOB.fullmatch(name) and name.lower() not in kept]
    if orphans:
        _log.warning(
            "there are blobs and no manifest: nothing is deleted count=%d folder=%s",
            len(orphans),
            store.folder,
        )
        Orphans(store.blobs).add(orphans)


def _sweep(store: ModelStore, now_s: float) -> None:
    with store_lock(store.blobs.folder):
        old = [path for name in store.blobs.names() if _is_old(path := store.blobs.folder / name, now_s)]
        # Read last: another program may have written a manifest while the files were listed.
        references = survey_for_sweep(store.manifests, old)
        if references.absent:
            references.unclear.append(
                f"{len(references.absent)} manifests of manifest lists that are not present"
            )
        if references.unclear or references.manifest_count == 0:
            references.warn()
            return
        orphans = Orphans(store.blobs)
        orphans.tidy(references.hexes)
        references.hexes |= {digest.hex.lower() for digest in held_digests(store.blobs)}
        references.hexes |= store.blobs.kept.hexes()
        stays = orphans.names()
        for path in old:
            with contextlib.suppress(OSError):
                if path.name not in stays and not _is_used(path.name, references):
                    _delete(store, path)
                    _log.info("pruned blob=%s", path.name)
        used = {Digest(text) for text in references.hexes}
        for files in store.blobs.derived:
            files.sweep(used)
    _remove_empty_folders(store.manifests.folder)


def _is_used(name: str, references: References) -> bool:
    try:
        return references.uses(Digest.parse(name))
    except InvalidDigestError:
        return False  # a file that another process has not finished


def _is_old(path: Path, now_s: float) -> bool:
    """Whether a file is of a kind that may be removed, and has not been touched for long."""
    try:
        info = path.lstat()
    except OSError:
        return False
    if stat.S_ISDIR(info.st_mode):
        return False
    # The time of a shared file is its owner's; the time of the link counts.
    is_shared = stat.S_ISLNK(info.st_mode) or info.st_nlink > 1
    age_s = now_s - (max(info.st_mtime, info.st_ctime) if is_shared else info.st_mtime)
    if _PARTIAL.fullmatch(path.name):
        return age_s > _PARTIAL_OLD_S
    return age_s > _OLD_S and (_BLOB.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)) is not None


def _delete(store: ModelStore, path: Path) -> None:
    try:
        store.blobs.delete(Digest.parse(path.name))
    except InvalidDigestError:
        path.unlink()


def keep_for_a_while(store: ModelStore, digest: Digest) -> None:
    """Keep a blob that was uploaded, or that a request names, until the next start and for an hour at least.

    Until then it outlives the models made from it. A link to a user's own file is not kept: the file can be linked
    again.
    """
    if store.blobs.links.read(digest) is not None:
        return
    with contextlib.suppress(OSError):  # a full disk; the blob's own time protects it from the sweep
        store.blobs.kept.note(digest)


def delete_unreferenced(store: ModelStore, digests: Iterable[Digest]) -> None:
    """Delete those of the blobs that no manifest refers to and no change under way relies on."""
    delete_unused(store.blobs, store.manifests, digests)


def _remove_unfinished_manifests(folder: Path, now_s: float) -> None:
    """Files that `write_atomically` of a killed process has not renamed."""
    for path in folder.rglob(".*") if folder.is_dir() else ():
        match = UNFINISHED.fullmatch(path.name)
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
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
