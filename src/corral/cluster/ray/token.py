"""The token that Ray's processes show each other. Without it, whoever reaches their ports runs code on every machine.

It is derived from the cluster key, so that there is one secret to copy. Ray sends its token with every call and does
not encrypt by itself; the key cannot be computed from it.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from corral.disk import make_folders, write_atomically
from corral.errors import CorralError

_PURPOSE = b"corral ray token"


class TokenError(CorralError):
    """The file of Ray's token cannot be used."""


def ray_token(cluster_key: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.blake2b(cluster_key.encode(), digest_size=32, person=_PURPOSE).hexdigest()


def write_token(path: Path, token: str) -> None:
    """Put the token where Ray reads it; nobody else may.

    Raises:
        TokenError
    """
    try:
        make_folders(path.parent, mode=0o700)
        write_atomically(path, token.encode(), mode=0o600)
    except OSError as exc:
        raise TokenError(f"{path}: {(exc.strerror or str(exc)).lower()}") from exc


def check_token(path: Path) -> None:
    """Refuse a file that is missing, is empty, or that others may read.

    Raises:
        TokenError
    """
    try:
        status = path.stat()
        has_text = bool(path.read_text().strip())
    except (OSError, UnicodeDecodeError) as exc:
        raise TokenError(f"the token of Ray, {path}, cannot be read: {exc}") from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TokenError(f"others may read the token of Ray, {path}", hint=f"chmod 600 {path}")
    if not has_text:
        raise TokenError(f"the token of Ray, {path}, is empty")
