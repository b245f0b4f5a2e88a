"""Sharded GGUF repositories on Hugging Face.

Its registry endpoint refuses them (ollama issue 5245). The files can be downloaded all the same, and the listing of a
repository gives their SHA-256. So they are fetched as blobs, and the caller makes a model of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from corral.digest import Digest
from corral.errors import InvalidDigestError, RegistryError, RegistryProtocolError, RegistryStatusError
from corral.registry.client import RegistryClient, raise_for_status
from corral.registry.source import HUGGING_FACE

_MAX_LISTING_BYTES = 8 << 20
_MAX_PAGES = 100  # of a thousand files
_MAX_BLOB_BYTES = 1 << 44
_NEXT_PAGE = re.compile(r'<([^<>]*)>[^,<>]*;\s*rel="?next\b')
_SHARD = re.compile(r"(?P<prefix>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf")
_PREFERRED = "q4_k_m"  # what Hugging Face serves as `latest`


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A large file of a repository."""

    path: str
    digest: Digest
    size_bytes: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class RepositorySource:
    """A source for the files of a repository that has no manifest."""

    def __init__(self, new_client: Callable[[], RegistryClient], urls: Mapping[Digest, str]) -> None:
        self._new_client = new_client
        self._urls = urls

    async def fetch_manifest(self) -> bytes:
        raise RegistryError("the repository has no manifest")

    async def fetch_manifest_of(self, digest: Digest) -> bytes:
        raise RegistryError(f"the repository has no manifest {digest}")

    def blob_sources(self) -> Sequence[RegistryClient]:
        client = self._new_client()
        client.blob_urls.update(self._urls)
        return [client]


def is_sharded_refusal(host: str, error: RegistryError) -> bool:
    """Whether an error is Hugging Face's way to say that a tag has several files. Only its text shows that."""
    return (
        host.lower() in HUGGING_FACE
        and isinstance(error, RegistryStatusError)
        and error.status == 400
        and "sharded" in error.body.lower()
    )


def fetch_listing(client: RegistryClient) -> list[RepositoryFile]:
    """The files of the client's repository that have a digest.

    Raises:
        RegistryError
    """
    endpoint = client.endpoint
    url = f"{endpoint.base_url}/api/models/{endpoint.repository}/tree/main?recursive=true"
    found: list[RepositoryFile] = []
    for _ in range(_MAX_PAGES):
        response = client.follow("GET", url, {"Accept": "application/json"})
        raise_for_status(response)
        data = response.read_bounded(_MAX_LISTING_BYTES)
        try:
            entries: Any = json.loads(data)
        except (ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise RegistryProtocolError("the listing of the repository is not a list")
        found += [file for file in map(_file, entries) if file is not None]
        following = _NEXT_PAGE.search(response.header("link") or "")
        if following is None:
            return found
        url = client.redirect(url, following[1])
        if not client.is_own(url):
            raise RegistryProtocolError("the listing of the repository continues on another host")
    raise RegistryProtocolError(f"the listing of the repository has more than {_MAX_PAGES} pages")


def _file(entry: Any) -> RepositoryFile | None:
    lfs = entry.get("lfs") if isinstance(entry, dict) else None
    if not isinstance(lfs, dict):
        return None
    path, oid, size = entry.get("path"), lfs.get("oid"), lfs.get("size")
    if (
        not isinstance(path, str)
        or not isinstance(oid, str)
        or not isinstance(size, int)
        or isinstance(size, bool)
    ):
        return None
    try:
        digest = Digest.parse(f"sha256:{oid}")
    except InvalidDigestError:
        return None
    return RepositoryFile(path, digest, size) if 0 < size <= _MAX_BLOB_BYTES else None


def choose_files(files: Sequence[RepositoryFile], tag: str) -> list[RepositoryFile]:
    """The shards of the quantization that a tag names, in order, and a projector if the repository has one.

    Raises:
        RegistryError: there is no such set, or it is incomplete.
    """
    groups: dict[tuple[str, int], dict[int, RepositoryFile]] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.path):
            groups.setdefault((match["prefix"], int(match["count"])), {})[int(match["index"])] = file
    wanted = _PREFERRED if tag.lower() == "latest" else tag.lower()
    fitting = [key for key in groups if _has_word(key[0], wanted)]
    if not fitting and tag.lower() == "latest":
        fitting = list(groups)
    if not fitting:
        raise RegistryError(f"the repository has no sharded GGUF {tag!r}")
    # The name closest to the tag: `Q4_K` must not find `Q4_K_M` before its own.
    key = min(fitting, key=lambda key: (len(key[0]), key))
    shards = groups[key]
    if sorted(shards) != list(range(1, key[1] + 1)):
        raise RegistryError(f"the repository has {len(shards)} of {key[1]} shards of {tag!r}")
    chosen = [shards[index] for index in sorted(shards)]
    projectors = [
        file for file in files if file.name.lower().startswith("mmproj") and file.name.endswith(".gguf")
    ]
    projectors.sort(key=lambda file: (not _has_word(file.name[: -len(".gguf")], "f16"), file.name))
    return [*chosen, *projectors[:1]]


def _has_word(text: str, word: str) -> bool:
    """Whether a file name holds a word between separators, in any case."""
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9_])", text.lower()) is not None


def file_url(client: RegistryClient, file: RepositoryFile) -> str:
    return f"{client.endpoint.base_url}/{client.endpoint.repository}/resolve/main/{quote(file.path)}"
