"""What keeps changes of the store apart: a folder for each change under way, and one lock for the whole store.

    <models>/.corral-lock                 held briefly: while something is looked up and then relied on
    <models>/blobs/corral-<16 hex>/       the folder of a change: files under construction
    <models>/blobs/corral-<16 hex>/held   which blobs the change relies on; locked as long as its process lives

A blob that a manifest is about to refer to must not be deleted by a process that sees no manifest doing so yet. So a
change notes each blob before it checks whether the blob is present, and a deletion leaves noted blobs alone; both
happen under the store's lock. A process that is killed leaves its folder behind with nobody holding the
lock on `held`: the next start of any server on this store finds it, removes it and the blobs that it had added.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from corral.digest import Digest
from corral.disk import make_folders, sync_folder
from corral.store.blobs import BlobStore, PutResult
from corral.store.catalog import ManifestStore
from corral.store.links import LinkRecord
from corral.store.locks import lock_file, store_lock
from corral.store.references import survey_for_deletion

_NAME = re.compile(r"corral-[0-9a-f]{16}")
_HELD = "held"


class Workspace:
    """A change under way. Closing it removes its files and releases what it holds. Blocks on the disk."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.folder = blobs.folder / f"corral-{secrets.token_hex(8)}"
        # Blobs that this change has added.
        self.added: set[Digest] = set()
        # Until the file is locked, a recovery would take it for one left behind.
        make_folders(blobs.folder)
        with store_lock(blobs.folder):
            self.folder.mkdir()
            self._held: IO[str] = (self.folder / _HELD).open("w", encoding="ascii")
            lock_file(self._held)

    def close(self) -> None:
        """Release the blobs; those that were added and are not referred to by now may be deleted."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()

    def path(self, name: str) -> Path:
        """A path for a file under construction, on the same file system as the blobs."""
        return self.folder / name

    def hold(self, digest: Digest) -> bool:
        """Protect a blob from deletion from now on; returns whether it is present."""
        with store_lock(self._blobs.folder):
            self._note(" ", digest)
            is_there = self._blobs.has(digest)
            if is_there:
                self._blobs.touch(digest)
            return is_there

    def put_bytes(self, data: bytes) -> PutResult:
        """Store content."""
        digest = Digest.of(data)
        if not self.hold(digest):
            place = self.path(digest.file_name())
            with place.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self.adopt(place, digest)
        return PutResult(digest, len(data))

    def adopt(self, file: Path, digest: Digest, record: LinkRecord | None = None) -> bool:
        """Make a finished file of this folder a blob; False if the blob existed (the file is removed then).

        `record`: the content is shared with a user's file, which others may change.
        """
        links, place = self._blobs.links, self._blobs.path(digest)
        with store_lock(self._blobs.folder):
            self._note("+", digest)
            if self._blobs.has(digest):
                self._blobs.touch(digest)
                if record is not None and links.read(digest) is None and file.samefile(place):
                    links.write(digest, record)  # what shared it was cut short
                file.unlink()
                return False
            # The record first: a blob that shares its content must never be without one.
            if record is None:
                links.delete(digest)
            else:
                links.write(digest, record)
            if not file.is_symlink() and file.stat().st_nlink == 1:
                file.chmod(0o644)
            file.replace(place)
            self.added.add(digest)
        sync_folder(self._blobs.folder)
        self._blobs.note_sound(digest)
        return True

    def delete_unused(self, manifests: ManifestStore, digests: Iterable[Digest]) -> None:
        """Delete those of the blobs that no manifest refers to and no other change holds."""
        with store_lock(self._blobs.folder):
            _delete_unused(self._blobs, manifests, set(digests), other_than=self.folder)

    def _note(self, mark: str, digest: Digest) -> None:
        self._held.write(f"{mark}{digest.hex}\n")
        self._held.flush()


def delete_unused(blobs: BlobStore, manifests: ManifestStore, digests: Iterable[Digest]) -> None:
    """Delete those of the blobs that certainly nothing refers to and no change under way holds."""
    candidates = set(digests)
    if not candidates:
        return
    with store_lock(blobs.folder):
        _delete_unused(blobs, manifests, candidates)


def _delete_unused(
    blobs: BlobStore, manifests: ManifestStore, candidates: set[Digest], other_than: Path | None = None
) -> None:
    references = survey_for_deletion(manifests, candidates)
    references.warn()
    references.hexes |= blobs.kept.hexes()
    for digest in candidates - held_digests(blobs, other_than=other_than):
        if not references.uses(digest):
            blobs.delete(digest)


def held_digests(blobs: BlobStore, *, other_than: Path | None = None) -> set[Digest]:
    """The blobs that changes under way rely on, in all processes; one change may be left out."""
    found: set[Digest] = set()
    for folder in _folders(blobs):
        if folder != other_than:
            found.update(digest for _, digest in _read_held(folder))
    return found


def recover_workspaces(blobs: BlobStore, manifests: ManifestStore) -> int:
    """Clean up after processes that were killed in the middle of a change; returns the number of changes."""
    count = 0
    for folder in _folders(blobs):
        with store_lock(blobs.folder):
            if _is_alive(folder):
                continue
            added = {digest for mark, digest in _read_held(folder) if mark == "+"}
            # The list is removed last: if this process is killed too, the next one continues.
            _delete_unused(blobs, manifests, added, other_than=folder)
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    return count


def _folders(blobs: BlobStore) -> list[Path]:
    return [blobs.folder / name for name in blobs.names() if _NAME.fullmatch(name)]


def _is_alive(folder: Path) -> bool:
    """Whether a process holds the lock of a change."""
    try:
        with (folder / _HELD).open("rb") as file:
            return not lock_file(file)
    except FileNotFoundError:
        return False


def _read_held(folder: Path) -> list[tuple[str, Digest]]:
    """Marks and digests; a line that a killed process did not finish is left out."""
    try:
        text = (folder / _HELD).read_text("ascii", "replace")
    except OSError:
        return []
    lines = (line for line in text.split("\n")[:-1] if re.fullmatch(r"[ +][0-9a-fA-F]{64}", line))
    return [(line[0], Digest(line[1:])) for line in lines]
