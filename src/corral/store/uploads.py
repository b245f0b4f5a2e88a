"""Blobs that arrive in pieces from other machines: one file an upload, appended to, hashed when it is complete.

An upload's state is its file alone, so it survives a restart of the server. The folder is beside the blobs, where
Ollama does not look. An upload that got nothing for a day is removed when the next one starts, an empty one after ten
minutes. Uploads that were only begun never prevent others from pushing: with too many of them the oldest is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from corral.digest import Digest, hash_file
from corral.disk import make_folders, sync_file, sync_folder
from corral.errors import DigestMismatchError, InvalidRequestError
from corral.store.blobs import BlobStore

_ID = re.compile(r"[0-9a-f]{32}")
_ABANDONED_S = 86400.0
_EMPTY_ABANDONED_S = 600.0
_MAX_UPLOADS = 1024
# An upload with less than this can be started again at no cost.
_SMALL_BYTES = 1 << 20


class UnknownUploadError(InvalidRequestError):
    """No upload with this id; it was finished, cancelled, or never begun."""

    def __init__(self) -> None:
        super().__init__("blob upload unknown to registry")


class UploadStore:
    """The `corral-uploads` folder of a models folder. Every method blocks on the disk."""

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs

    def start(self, busy: Collection[str] = ()) -> str:
        """Begin an upload; returns its id. `busy` are ids that are being written.

        Raises:
            InvalidRequestError: too many large ones are under way.
        """
        make_folders(self._folder)
        self._make_room(busy)
        upload_id = secrets.token_hex(16)
        self._path(upload_id).open("xb").close()
        return upload_id

    def size_bytes(self, upload_id: str) -> int:
        """Raises UnknownUploadError."""
        try:
            return self._path(upload_id).stat().st_size
        except FileNotFoundError:
            raise UnknownUploadError from None

    def open(self, upload_id: str) -> BinaryIO:
        """The file of an upload, at its end. Raises UnknownUploadError."""
        try:
            return self._path(upload_id).open("r+b", buffering=0)
        except FileNotFoundError:
            raise UnknownUploadError from None

    def finish(self, upload_id: str, digest: Digest) -> None:
        """Make the upload the blob that it claims to be; if the digest differs, it is deleted.

        Raises:
            UnknownUploadError, DigestMismatchError
        """
        path = self._path(upload_id)
        try:
            actual = hash_file(path)
        except FileNotFoundError:
            raise UnknownUploadError from None
        if actual.hex != digest.hex.lower():
            path.unlink(missing_ok=True)
            raise DigestMismatchError(str(digest), str(actual))
        sync_file(path)
        make_folders(self._blobs.folder)
        path.chmod(0o644)
        path.replace(self._blobs.path(actual))
        sync_folder(self._blobs.folder)

    def cancel(self, upload_id: str) -> None:
        """Raises UnknownUploadError."""
        try:
            self._path(upload_id).unlink()
        except FileNotFoundError:
            raise UnknownUploadError from None

    def _path(self, upload_id: str) -> Path:
        if not _ID.fullmatch(upload_id):
            raise UnknownUploadError
        return self._folder / upload_id

    def _make_room(self, busy: Collection[str]) -> None:
        now_s = time.time()
        kept: list[tuple[float, Path]] = []  # of small ones, when they were last written
        count = 0
        for entry in os.scandir(self._folder):
            if not _ID.fullmatch(entry.name):
                continue  # not an upload
            with contextlib.suppress(FileNotFoundError):
                facts, path = entry.stat(), Path(entry.path)
                limit_s = _ABANDONED_S if facts.st_size else _EMPTY_ABANDONED_S
                if entry.name not in busy and now_s - facts.st_mtime > limit_s:
                    path.unlink()
                    continue
                count += 1
                if facts.st_size < _SMALL_BYTES and entry.name not in busy:
                    kept.append((facts.st_mtime, path))
        kept.sort()
        for _, path in kept[: max(count + 1 - _MAX_UPLOADS, 0)]:
            path.unlink(missing_ok=True)
            count -= 1
        if count >= _MAX_UPLOADS:
            raise InvalidRequestError(
                "too many uploads are under way; finish or cancel some, or try again later"
            )
