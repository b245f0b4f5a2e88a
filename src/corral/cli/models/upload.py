"""Brings local files to the server as blobs: only those that it lacks, and without a copy where that can be.

A server on this machine that can read the same files is asked to take them in itself, which shares their blocks
instead of sending them through a socket; any other gets an upload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.cli.http.client import APIError, Client
from corral.cli.terminal.progress import Progress
from corral.library.create.token import TOKEN_FILE_NAME, is_token

_CHUNK_BYTES = 1 << 20
# A smaller file is sent faster than a server starts work on it.
_LEAST_LOCAL_BYTES = 8 << 20
_MAX_TOKEN_BYTES = 200


class Uploader:
    """Sends files to one server. `by_reference`: large files stay where they are."""

    def __init__(self, client: Client, progress: Progress, *, by_reference: bool) -> None:
        self._client = client
        self._progress = progress
        self._mode = "reference" if by_reference else "link"
        self._token: str | None = None
        self._digests: dict[Path, str] = {}

    def digest_of(self, file: Path) -> str:
        """The digest of a file that is a blob of the server now.

        Raises:
            APIError, NoServerError, OSError
        """
        key = file.resolve()
        if key not in self._digests:
            self._digests[key] = self._bring(file)
        return self._digests[key]

    def _bring(self, file: Path) -> str:
        size_bytes = file.stat().st_size
        if self._mode == "reference" or size_bytes >= _LEAST_LOCAL_BYTES:
            digest = self._take_in(file)
            if digest:
                return digest
        digest = _hash(file, size_bytes)
        if not self._client.has_blob(digest):
            self._send(digest, file, size_bytes)
        return digest

    def _take_in(self, file: Path) -> str:
        """Have the server take a file in; empty if it will not.

        Raises:
            APIError: a reference was asked for and cannot be had.
        """
        if self._token is None:
            self._token = self._find_token()
        if not self._token:
            if self._mode == "reference":
                raise APIError("--reference needs a server on this machine that runs as you")
            return ""
        body = {"path": str(file.resolve()), "mode": self._mode, "token": self._token}
        digest = ""
        try:
            for event in self._client.stream("/api/local-blobs", body):
                if event.get("total"):
                    self._progress.bar(f"reading {file.name}", event["completed"], event["total"])
                elif event.get("status") == "success":
                    digest = str(event["digest"])
        except APIError:
            # It may not see the file as we do (a sandbox, a container); what else is wrong the upload will tell.
            if self._mode == "reference":
                raise
        return digest

    def _find_token(self) -> str:
        """The token of a server that is ours to talk to so; empty if there is none.

        The file that a server names is believed only if it holds such a token and nothing else.
        """
        if not self._client.address.is_loopback:
            return ""
        try:
            path = Path(self._client.call("GET", "/api/local-blobs")["token_file"])
            if path.name != TOKEN_FILE_NAME:
                return ""
            with path.open("rb") as file:
                token = file.read(_MAX_TOKEN_BYTES).decode("ascii")
        except (APIError, OSError, ValueError, KeyError, TypeError):
            return ""
        return token if is_token(token) else ""

    def _send(self, digest: str, file: Path, size_bytes: int) -> None:
        label = f"copying file {digest}"
        self._progress.share(label, 0, size_bytes)
        with file.open("rb") as stream:
            counted: Any = _CountingFile(stream, self._progress, label, size_bytes)
            self._client.upload(digest, counted, size_bytes)


def _hash(file: Path, size_bytes: int) -> str:
    """Raises APIError: the file is not as large as it said."""
    hasher = hashlib.sha256()
    left_bytes = size_bytes
    with file.open("rb") as stream:
        while chunk := stream.read(min(_CHUNK_BYTES, left_bytes + 1)):
            left_bytes -= len(chunk)
            if left_bytes < 0:
                break
            hasher.update(chunk)
    if left_bytes:
        raise APIError(f"{file} changed while it was read")
    return f"sha256:{hasher.hexdigest()}"


class _CountingFile:
    """A file that tells the progress display how much of it was read."""

    def __init__(self, file: Any, progress: Progress, label: str, size_bytes: int) -> None:
        self._file = file
        self._progress = progress
        self._label = label
        self._size_bytes = size_bytes
        self._read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        left_bytes = self._size_bytes - self._read_bytes
        data: bytes = self._file.read(min(max(size, _CHUNK_BYTES), left_bytes))
        if not data and left_bytes:
            raise APIError("the file became shorter while it was sent")
        self._read_bytes += len(data)
        self._progress.share(self._label, self._read_bytes, self._size_bytes)
        return data


def send_files(client: Client, progress: Progress, files: Mapping[str, Path]) -> dict[str, str]:
    """Digests of files that are blobs of the server now: referred to where it can see them, else sent.

    Raises:
        APIError, NoServerError, OSError
    """
    try:
        uploader = Uploader(client, progress, by_reference=True)
        return {name: uploader.digest_of(path) for name, path in files.items()}
    except APIError:
        uploader = Uploader(client, progress, by_reference=False)
        return {name: uploader.digest_of(path) for name, path in files.items()}
