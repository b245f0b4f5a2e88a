"""The key that servers of a cluster show each other: a file that its owner alone may read.

Its first line is the key. Further lines are `URL KEY`: keys for single servers, made there with
`corral key create NAME --scope cluster`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path

from corral.access.secret import digest_of, new_id, new_secret
from corral.caller import CLUSTER_SCOPES, Caller
from corral.clustervalues import node_url
from corral.disk import make_folders, write_new
from corral.errors import CorralError

_MAX_BYTES = 1 << 20
_MIN_CHARS = 32
_MAX_CHARS = 512
_HINT = "make one with corral cluster key, and copy it to the other servers"
# In the place of a key's id.
KEY_ID = "cluster"


class ClusterKeyError(CorralError):
    """The file of the cluster key cannot be used."""


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """What this server shows to others, and accepts from them."""

    text: str = field(repr=False)
    by_url: Mapping[str, str] = field(default_factory=dict, repr=False)

    def text_for(self, url: str) -> str:
        """What is shown to the server at an address."""
        return self.by_url.get(url, self.text)

    def matches(self, text: str) -> bool:
        """Whether somebody else shows the key. Takes as long for every text."""
        return compare_digest(digest_of(text), digest_of(self.text))

    def caller(self, address: str) -> Caller:
        """Who a request with this key comes from, unless it says for whom it is."""
        return Caller(KEY_ID, KEY_ID, CLUSTER_SCOPES, address=address, share=KEY_ID)


def read_cluster_key(path: Path) -> ClusterKey:
    """Read the file.

    Raises:
        ClusterKeyError: it is missing, others may read it, or it holds something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ClusterKeyError(f"the cluster key {path} does not exist", hint=_HINT) from None
    except OSError as exc:
        raise ClusterKeyError(f"{path}: {(exc.strerror or str(exc)).lower()}", hint=_HINT) from exc
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ClusterKeyError(f"others may read or change the cluster key {path}", hint=f"chmod 600 {path}")
    try:
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise ClusterKeyError(f"{path} does not hold a cluster key", hint=_HINT) from None
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries or len(data) > _MAX_BYTES:
        raise ClusterKeyError(f"{path} does not hold a cluster key", hint=_HINT)
    return ClusterKey(_checked(entries[0], path), dict(_entry(line, path) for line in entries[1:]))


def _entry(line: str, path: Path) -> tuple[str, str]:
    url, _, text = line.partition(" ")
    return node_url(url, str(path)), _checked(text.strip(), path)


def _checked(text: str, path: Path) -> str:
    if not _MIN_CHARS <= len(text) <= _MAX_CHARS or not text.isprintable() or " " in text:
        raise ClusterKeyError(
            f"{path}: a cluster key has {_MIN_CHARS} to {_MAX_CHARS} characters without blanks", hint=_HINT
        )
    return text


def write_cluster_key(path: Path) -> str:
    """Make a key, and the file that only its owner may read; the key.

    Raises:
        ClusterKeyError: the file exists, or cannot be written.
    """
    text = new_secret(new_id())
    try:
        make_folders(path.parent, mode=0o700)
        write_new(path, f"{text}\n".encode(), mode=0o600)
    except FileExistsError:
        raise ClusterKeyError(
            f"{path} exists already", hint="use that one, or remove it on all servers first"
        ) from None
    except OSError as exc:
        raise ClusterKeyError(f"{path}: {(exc.strerror or str(exc)).lower()}") from exc
    return text
