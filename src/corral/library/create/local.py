"""Imports local files as blobs without sending them through HTTP, for programs that can prove their identity.

The proof is a token in a file that only our own user can read. A program that knows it can read everything that the
server can read, so it gains nothing. A web page, or a client behind a proxy or tunnel, does not know it. See
docs/decisions/0015-local-files.md.
"""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corral.digest import Digest
from corral.errors import InvalidDigestError, InvalidRequestError, LocalFilesError, StoreError
from corral.library.create.change import working
from corral.library.create.ingest import MODES
from corral.library.create.jobs import JobResult, Jobs
from corral.library.create.token import TOKEN_FILE_NAME, TOKEN_PREFIX
from corral.store.links import LinkRecord
from corral.store.models import ModelStore
from corral.store.workspace import Workspace
from corral.threads import in_thread
from corral.types import Report

_NO_DIGEST = "0" * 19

Policy = Literal["link", "copy", "off"]


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file to import: an absolute path without symbolic links, and the mode."""

    path: Path
    mode: str


class LocalFiles:
    """Imports files for clients that know the token of this server."""

    def __init__(self, store: ModelStore, jobs: Jobs, policy: Policy) -> None:
        self._store = store
        self._jobs = jobs
        self._policy = policy
        self._token = TOKEN_PREFIX + secrets.token_hex(32)
        self._folder: Path | None = None
        self._lock = threading.Lock()

    def token_file(self) -> Path:
        """The file with the token, in a folder that only our user can enter; created on first use.

        Raises:
            LocalFilesError: local files are turned off.
        """
        self._check_policy()
        with self._lock:
            if self._folder is None:
                parent = os.environ.get("XDG_RUNTIME_DIR", "")
                is_usable = bool(parent) and os.access(parent, os.W_OK | os.X_OK)
                folder = Path(tempfile.mkdtemp(prefix="corral-local-", dir=parent if is_usable else None))
                handle = os.open(folder / TOKEN_FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(self._token)
                self._folder = folder
            return self._folder / TOKEN_FILE_NAME

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _check_policy(self) -> None:
        if self._policy == "off":
            raise LocalFilesError("this server does not import local files (CORRAL_LOCAL_FILES is off)")

    def check(self, token: str, origin: str) -> None:
        """Raises LocalFilesError: the caller may not import files. Web pages never may."""
        self._check_policy()
        if origin or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise LocalFilesError(
                "only programs that can read the server's token file may import local files; upload the file instead"
            )

    def parse(self, path: str, mode: str) -> LocalSource:
        """Raises InvalidRequestError, LocalFilesError."""
        if not path.startswith("/") or "\0" in path:
            raise InvalidRequestError("path must be absolute")
        if mode not in MODES:
            raise InvalidRequestError(f"mode must be one of {', '.join(MODES)}")
        if self._policy == "copy" and mode == "reference":
            raise LocalFilesError("this server copies local files (CORRAL_LOCAL_FILES is copy)")
        return LocalSource(Path(path), "copy" if self._policy == "copy" else mode)

    async def take_in(self, source: LocalSource, report: Report) -> None:
        """Import a file as a blob. The last object has its digest and the method.

        Raises:
            StoreError
        """
        try:
            path = await in_thread(source.path.resolve)
        except (OSError, RuntimeError) as exc:  # RuntimeError: a loop of links
            raise StoreError(
                f"{source.path} cannot be resolved: {getattr(exc, 'strerror', None) or exc}"
            ) from exc
        digest = await in_thread(self._known, path)
        method = "existing"
        if digest is None:
            digest, method = await self._take_in(path, source.mode, report)
        await report({"status": "success", "digest": str(digest), "method": method})

    def _known(self, path: Path) -> Digest | None:
        """The digest of a file that is already a blob, or that was linked before and has not changed."""
        with suppress(InvalidDigestError, OSError):
            if path.parent.samefile(self._store.blobs.folder):
                digest = Digest.parse(path.name)
                return digest if self._store.blobs.has(digest) else None
        with suppress(OSError):
            found = self._store.blobs.links.find(path, path.stat())
            if found is not None and self._store.blobs.has(found):
                self._store.blobs.touch(found)
                return found
        return None

    async def _take_in(self, path: Path, mode: str, report: Report) -> tuple[Digest, str]:
        status = f"reading {path.name}"

        async def on_progress(done_bytes: int, total_bytes: int) -> None:
            await report(
                {"status": status, "digest": _NO_DIGEST, "total": total_bytes, "completed": done_bytes}
            )

        async with working(self._store) as workspace:
            place = workspace.path("taken-in")
            order = {"work": "take_in", "source": str(path), "destination": str(place), "mode": mode}
            result = await self._jobs.run(order, on_progress)
            method = await in_thread(self._adopt, workspace, place, path, result)
        return result.digest, method

    def _adopt(self, workspace: Workspace, place: Path, path: Path, result: JobResult) -> str:
        is_shared = result.method in ("hard link", "reference")
        record = LinkRecord(str(path), result.size_bytes, result.modified_ns) if is_shared else None
        return result.method if workspace.adopt(place, result.digest, record) else "existing"
