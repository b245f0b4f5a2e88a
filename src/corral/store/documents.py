"""Files that hold a manifest or a list of manifests, and a record of the files that were read to find one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from corral.errors import CorruptManifestError
from corral.store.lists import Document, parse_document
from corral.store.manifests import MAX_MANIFEST_BYTES

_Stamp = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A file's content. `digest_hex` is its SHA-256, `has_newline` whether it ends with a newline."""

    document: Document
    digest_hex: str
    has_newline: bool
    size_bytes: int


@dataclass(slots=True)
class Witness:
    """The files that an answer depends on, as they were, and those that did not exist.

    The answer holds as long as all of them are unchanged.
    """

    seen: dict[str, _Stamp] = field(default_factory=dict)
    size_bytes: int = 0

    def read(self, path: Path) -> StoredDocument:
        """Raises FileNotFoundError, CorruptManifestError, OSError."""
        if not self.has(path):
            raise FileNotFoundError(str(path))
        try:
            data = read_bytes(path)
        except (NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError(str(path)) from None
        self.size_bytes += len(data)
        digest_hex = hashlib.sha256(data).hexdigest()
        return StoredDocument(parse_document(data), digest_hex, data.endswith(b"\n"), len(data))

    def has(self, path: Path) -> bool:
        """Whether a file exists."""
        key = str(path)
        if key not in self.seen:
            self.seen[key] = _stamp(key)
        return self.seen[key] is not None

    def is_still_so(self) -> bool:
        try:
            return all(_stamp(path) == stamp for path, stamp in self.seen.items())
        except OSError:
            return False


def read_bytes(path: Path) -> bytes:
    """The content of a file that should be a manifest.

    Raises:
        CorruptManifestError: too large to be one.
        OSError
    """
    with path.open("rb") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise CorruptManifestError(f"manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    return data


def _stamp(path: str) -> _Stamp:
    try:
        info = os.stat(path)  # noqa: PTH116 - on the way of every request
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino, info.st_dev)
