"""Makes local files blobs of the server: only those that it does not have, and without a copy if possible.

A server on this machine that can read the same files is asked to import them itself, which shares their blocks
instead of sending them through a socket. Any other server gets an upload.
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
# Smaller files are uploaded faster than a server could import them.
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
        """Make a file a blob of the server; returns its digest.

        Raises:
            APIError, NoServerError, OSError
        """
        key = file.resolve()
        if key not in self._digests:
            self._digests[key] = self._ensure_blob(file)
        return self._digests[key]

    def _ensure_blob(self, file: Path) -> str:
        size_bytes = file.stat().st_size
        if self._mode == "reference" or size_bytes >= _LEAST_LOCAL_BYTES:
            digest = self._import_locally(file)
            if digest:
                return digest
        digest = _hash(file, size_bytes)
        if not self._client.has_blob(digest):
            self._send(digest, file, size_bytes)
        return digest

    def _import_locally(self, file: Path) -> str:
        """Have the server import a file; returns its digest, or an empty text if the server will not.

        Raises:
            APIError: a reference was asked for and is not possible.
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
            # The server may not see the file (a sandbox, a container); any other fault shows at the upload.
            if self._mode == "reference":
                raise
        return digest

    def _find_token(self) -> str:
        """The token for local files of a server that runs as our user; empty if there is none.

        The file that a server names is trusted only if it holds such a token and nothing else.
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
    """Raises APIError: the size of the file changed."""
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
    """A file that reports to the progress display how much of it was read."""

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
    """Make files blobs of the server, by reference if it can see them, else by upload; returns their digests.

    Raises:
        APIError, NoServerError, OSError
    """
    try:
        uploader = Uploader(client, progress, by_reference=True)
        return {name: uploader.digest_of(path) for name, path in files.items()}
    except APIError:
        uploader = Uploader(client, progress, by_reference=False)
        return {name: uploader.digest_of(path) for name, path in files.items()}
