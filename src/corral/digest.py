"""Content digests: `sha256:` and 64 hexadecimal digits, as a type that is safe in paths."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from corral.errors import InvalidDigestError

_PATTERN = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """`hex` keeps its letter case, because file names do."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises InvalidDigestError."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InvalidDigestError(text)
        return cls(match[1])

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(hashlib.sha256(data).hexdigest())

    def file_name(self) -> str:
        return f"sha256-{self.hex}"

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


def hash_file(path: Path) -> Digest:
    """The digest of a file's content; takes as long as reading it does."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return Digest(hasher.hexdigest())
