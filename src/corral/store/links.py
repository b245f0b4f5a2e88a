"""Blobs that share their content with a file elsewhere: a hard link, or a symbolic link to where the file stays.

    <models>/corral/links/<64 hex>.json     where the file is, and its state when its digest was computed

The content of such a blob can be changed by others. Size and time of change are compared before a model is used, so
that the user gets an error instead of nonsense from altered weights. Other blobs do not have a record and cost one
`lstat`.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from corral.bounded import BoundedCache
from corral.digest import Digest
from corral.disk import write_atomically
from corral.errors import InvalidDigestError

_MAX_CACHED = 4096
_MAX_RECORD_BYTES = 5000  # the longest path


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """`path` is the user's own file."""

    path: str
    size_bytes: int
    modified_ns: int


class LinkRecords:
    """The records of one store."""

    def __init__(self, models: Path, blobs: Path) -> None:
        self._folder = models / "corral" / "links"
        self._blobs = blobs
        self._cache: BoundedCache[Digest, tuple[int, LinkRecord | None]] = BoundedCache(
            max_entries=_MAX_CACHED, max_bytes=_MAX_CACHED * _MAX_RECORD_BYTES
        )

    def write(self, digest: Digest, record: LinkRecord) -> None:
        write_atomically(self._path(digest), json.dumps(asdict(record)).encode())
        self._cache.pop(digest)

    def delete(self, digest: Digest) -> None:
        self._path(digest).unlink(missing_ok=True)
        self._cache.pop(digest)

    def read(self, digest: Digest) -> LinkRecord | None:
        try:
            modified_ns = self._path(digest).stat().st_mtime_ns
        except OSError:
            return None
        cached = self._cache.get(digest)
        if cached is not None and cached[0] == modified_ns:
            return cached[1]
        try:
            record = LinkRecord(**json.loads(self._path(digest).read_bytes()))
        except (OSError, ValueError, TypeError):
            record = None
        self._cache.put(digest, (modified_ns, record), _MAX_RECORD_BYTES)
        return record

    def find(self, file: Path, info: os.stat_result) -> Digest | None:
        """The digest of a file that was linked before and is unchanged since."""
        try:
            names = sorted(place.name for place in self._folder.iterdir())
        except FileNotFoundError:
            return None
        for name in names:
            try:
                digest = Digest.parse(f"sha256:{name.removesuffix('.json')}")
            except InvalidDigestError:
                continue
            record = self.read(digest)
            if record is not None and (record.path, record.size_bytes, record.modified_ns) == (
                str(file),
                info.st_size,
                info.st_mtime_ns,
            ):
                return digest
        return None

    def problem(self, blob: Path) -> str:
        """Why a blob must not be used: its file has gone or has changed. Empty if it may."""
        try:
            own = blob.lstat()
            is_link = stat.S_ISLNK(own.st_mode)
            if not is_link and own.st_nlink == 1:
                return ""
            record = self.read(Digest.parse(blob.name))
            now = blob.stat() if is_link else own
        except InvalidDigestError:
            return ""
        except OSError:
            return self._gone(blob)
        if record is None or (now.st_size, now.st_mtime_ns) == (record.size_bytes, record.modified_ns):
            return ""
        return (
            f"the file {record.path} has changed since the model was created from it; create the model again"
        )

    def _gone(self, blob: Path) -> str:
        try:
            where = str(blob.readlink())
        except OSError:
            return ""
        return f"the file {where} that the model refers to is gone; put it back, or create the model again"

    def _path(self, digest: Digest) -> Path:
        return self._folder / f"{digest.hex.lower()}.json"
