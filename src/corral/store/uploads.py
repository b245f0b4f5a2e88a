"""Blobs that arrive in pieces from other machines: one file an upload, appended to, hashed when it is complete.

An upload's state is its file alone, so it survives a restart of the server. The folder lies beside the blobs, where
Ollama does not look; what nobody has appended to for a day is removed at the next start of an upload.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import BinaryIO

from corral.digest import Digest, hash_file
from corral.errors import DigestMismatchError, InvalidRequestError
from corral.store.blobs import BlobStore, sync_folder

__all__ = ["UnknownUploadError", "UploadStore"]

_ID = re.compile(r"[0-9a-f]{32}")
_ABANDONED_S = 86400.0
_MAX_UPLOADS = 1024


class UnknownUploadError(InvalidRequestError):
    """No upload of this id; it was finished, cancelled, or never begun."""

    def __init__(self) -> None:
        super().__init__("blob upload unknown to registry")


class UploadStore:
    """The `corral-uploads` folder of a models folder. Every method blocks on the disk."""

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs

    def start(self) -> str:
        """Begin an upload; returns its id.

        Raises:
            InvalidRequestError: too many are under way.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
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
        """Make the upload the blob that it claims to be; if it is not, it is gone.

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
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._blobs.folder.mkdir(parents=True, exist_ok=True)
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

    def _remove_abandoned(self) -> None:
        kept = 0
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > _ABANDONED_S:
                    Path(entry.path).unlink()
                else:
                    kept += 1
        if kept >= _MAX_UPLOADS:
            raise InvalidRequestError(
                "too many uploads are under way; finish or cancel some, or try again later"
            )
