"""Content-addressed files: written under a temporary name, hashed on the way, renamed when complete."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from corral.digest import Digest, hash_file
from corral.disk import check_space, make_folders, sync_folder
from corral.store.checked import CheckedBlobs
from corral.store.kept import KeptBlobs
from corral.store.links import LinkRecords
from corral.store.locks import lock_file, store_lock

_WRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PutResult:
    """What was stored; the digest is that of the content."""

    digest: Digest
    size_bytes: int


class BlobWriter:
    """A blob under construction. Call `commit` or `discard`; a writer that does neither, because its process was
    killed, leaves a temporary file that nobody has locked, and the next start of a server removes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / f"sha256-{secrets.randbelow(10**18):018d}"
        with store_lock(folder):  # a clean-up must not see the file before it is locked
            self._file: BinaryIO = self.path.open("xb")
            lock_file(self._file)
        self._hasher = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hasher.update(data)
        self.size_bytes += len(data)

    def commit(self) -> PutResult:
        """Make the content durable under its digest."""
        digest = Digest(self._hasher.hexdigest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path.chmod(0o644)
        # Closing releases the lock: under its temporary name the file could be cleaned up.
        place = self._folder / digest.file_name()
        self.path.replace(place)
        self._file.close()
        sync_folder(self._folder)
        _note_sound(CheckedBlobs(self._folder.parent), digest, place)
        return PutResult(digest, self.size_bytes)

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class DerivedFiles(Protocol):
    """Files that are made from blobs and can be made again, such as translations for the engine."""

    def delete(self, digest: Digest) -> None:
        """Remove what was made from a blob."""

    def sweep(self, used: Collection[Digest]) -> None:
        """Remove what was made from any other blobs."""


class BlobStore:
    """The `blobs` folder. `derived`: files made from blobs, which are removed with them."""

    def __init__(self, folder: Path, derived: Sequence[DerivedFiles] = ()) -> None:
        self.derived = derived
        self.folder = folder
        self.links = LinkRecords(folder.parent, folder)
        self.kept = KeptBlobs(folder.parent)
        self.checked = CheckedBlobs(folder.parent)

    def path(self, digest: Digest) -> Path:
        return self.folder / digest.file_name()

    def has(self, digest: Digest) -> bool:
        """Whether a blob is present, as far as is known with the right content.

        A blob that is known to be damaged counts as missing, so that its content is stored again.
        """
        path = self.path(digest)
        try:
            is_there = path.is_file() and not self.links.problem(path)
            return is_there and self.checked.state(digest, _stamp(path.stat())) != "damaged"
        except OSError:
            return False

    def problem(self, digest: Digest, size_bytes: int) -> str:
        """Why a file must not be given to the engine, judged by its size and earlier checks; empty if it may.

        `size_bytes` is the size in the manifest (0: not stated).

        Raises:
            OSError
        """
        info = self.path(digest).stat()
        if size_bytes and info.st_size != size_bytes:
            return f"the file has {info.st_size} bytes instead of {size_bytes}"
        is_damaged = self.checked.state(digest, _stamp(info)) == "damaged"
        return "the content does not match its digest" if is_damaged else ""

    def is_doubtful(self, digest: Digest) -> bool:
        """Whether a file was written to since its content was last verified. Raises OSError."""
        return self.checked.state(digest, _stamp(self.path(digest).stat())) == "changed"

    def check(self, digest: Digest) -> bool:
        """Whether the content matches its digest; the result is recorded. Reads all of it. Raises OSError."""
        path = self.path(digest)
        stamp = _stamp(path.stat())
        is_sound = hash_file(path).hex == digest.hex.lower()
        with contextlib.suppress(OSError):
            self.checked.note(digest, stamp, is_sound=is_sound)
        return is_sound

    def note_sound(self, digest: Digest) -> None:
        """Record that the content was compared with its digest while it was written."""
        _note_sound(self.checked, digest, self.path(digest))

    def size_bytes(self, digest: Digest) -> int:
        """Raises FileNotFoundError."""
        return self.path(digest).stat().st_size

    def read(self, digest: Digest, *, limit_bytes: int = 64 << 20) -> bytes:
        """The content of a small blob (a template, parameters, a licence).

        Raises:
            OSError: it is missing, or larger than the limit.
        """
        with self.path(digest).open("rb") as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise OSError(f"{self.path(digest)} is larger than {limit_bytes} bytes")
        return data

    def touch(self, digest: Digest) -> None:
        """Mark a blob as used now, which keeps it from being pruned for an hour.

        The time of a file that is shared with its owner is left as it is.
        """
        path = self.path(digest)
        with contextlib.suppress(FileNotFoundError):
            if path.is_symlink():
                os.utime(path, follow_symlinks=False)
            elif (info := path.stat()).st_nlink == 1:
                os.utime(path)
                self.checked.move(digest, _stamp(info), _stamp(path.stat()))

    def delete(self, digest: Digest) -> None:
        """Remove a blob under both its names, and what was made from it for the engine."""
        for name in (digest.file_name(), str(digest)):
            (self.folder / name).unlink(missing_ok=True)
        self.links.delete(digest)
        self.checked.delete(digest)
        for files in self.derived:
            files.delete(digest)

    def writer(self) -> BlobWriter:
        """A new blob; blocks on the disk when it is written."""
        make_folders(self.folder)
        return BlobWriter(self.folder)

    def put_bytes(self, data: bytes) -> PutResult:
        """Store content; if it is present already, it is only marked as used now."""
        digest = Digest.of(data)
        if self.has(digest):
            self.touch(digest)
            return PutResult(digest, len(data))
        writer = self.writer()
        try:
            writer.write(data)
        except BaseException:
            writer.discard()
            raise
        return writer.commit()

    async def put(self, chunks: AsyncIterator[bytes]) -> PutResult:
        """Store a stream under the digest of its content, with bounded memory.

        A failing or cancelled stream leaves nothing behind.
        """
        writer = await asyncio.to_thread(self.writer)
        pending: list[bytes] = []
        pending_bytes = 0
        try:
            async for chunk in chunks:
                pending.append(chunk)
                pending_bytes += len(chunk)
                if pending_bytes >= _WRITE_BYTES:
                    await asyncio.to_thread(writer.write, b"".join(pending))
                    pending.clear()
                    pending_bytes = 0
            await asyncio.to_thread(writer.write, b"".join(pending))
            return await asyncio.to_thread(writer.commit)
        except BaseException:
            writer.discard()
            raise

    def check_space(self, content_length: str) -> None:
        """Refuse an upload that is too large for the disk by its stated size; one of unknown size is accepted.

        Raises:
            StoreError
        """
        make_folders(self.folder)
        needed_bytes = int(content_length) if content_length.isascii() and content_length.isdigit() else 0
        if needed_bytes:
            check_space(self.folder / "upload", needed_bytes)

    def names(self) -> list[str]:
        """Everything in the folder, temporary and partial files too."""
        try:
            return sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return []


def _note_sound(checked: CheckedBlobs, digest: Digest, path: Path) -> None:
    with contextlib.suppress(OSError):  # a full disk; then nothing is recorded about the blob
        checked.note(digest, _stamp(path.stat()), is_sound=True)


def _stamp(info: os.stat_result) -> tuple[int, int]:
    return (info.st_size, info.st_mtime_ns)
