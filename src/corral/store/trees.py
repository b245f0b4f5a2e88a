"""The two trees of manifests, `<host>/<namespace>/<model>/<tag>`: where a name's entries are, and what they hold.

manifests/      what every version of Ollama reads, and what Corral writes; the registry is `registry.ollama.ai`
manifests-v2/   what Ollama 0.40 and later write and read first; the registry is `ollama.com`. An entry is a link
                to a blob, or a copy of one
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.errors import InvalidModelNameError
from corral.names import DEFAULT_HOST, ModelName
from corral.store.strangers import is_litter

OLD_TREE = "manifests"
V2_TREE = "manifests-v2"
_V2_HOST = "ollama.com"
# One registry under two names.
_SAME_HOSTS = (_V2_HOST, DEFAULT_HOST)
_DEPTH = 4
# A file that `write_atomically` has not renamed yet; the group is the number of the process.
UNFINISHED = re.compile(r"\..+\.(\d+)\.\d+")


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file of a tree. `name` None: its path is not that of a manifest, or it cannot be read."""

    path: str
    name: ModelName | None


class Trees:
    """The trees of one models folder."""

    def __init__(self, models: Path) -> None:
        self.old = models / OLD_TREE
        self.v2 = models / V2_TREE

    def path(self, name: ModelName) -> Path:
        """Where the manifest of a name is written."""
        return self.old.joinpath(*name.path_parts())

    def v2_paths(self, name: ModelName) -> list[Path]:
        return [self.v2.joinpath(host, *name.path_parts()[1:]) for host in _hosts(name, _V2_HOST)]

    def old_paths(self, name: ModelName) -> list[Path]:
        return [self.old.joinpath(host, *name.path_parts()[1:]) for host in _hosts(name, name.host)]

    def names(self) -> Iterator[ModelName]:
        """Every name that has an entry, dangling links included; each once."""
        seen = set()
        for entry in walk_tree(self.v2):
            if entry.name is not None and (name := _usual(entry.name)) not in seen:
                seen.add(name)
                yield name
        for entry in walk_tree(self.old):
            if entry.name is not None and _usual(entry.name) not in seen:
                yield entry.name

    def find(self, name: ModelName) -> ModelName | None:
        """A name with an entry that differs from this one at most in letter case; one listing per level."""
        for root in (self.v2, self.old):
            for host in _hosts(name, name.host):
                for parts in _descend(root, (host, *name.path_parts()[1:])):
                    with contextlib.suppress(InvalidModelNameError):
                        found = ModelName(*parts)
                        return _usual(found) if root is self.v2 else found
        return None


def _hosts(name: ModelName, first: str) -> list[str]:
    """The hosts under which a name may be kept."""
    if name.host.lower() not in _SAME_HOSTS:
        return [name.host]
    return list(dict.fromkeys((first, name.host, *_SAME_HOSTS)))


def _usual(name: ModelName) -> ModelName:
    """A name of the second tree as it is written in the first, and shown."""
    if name.host != _V2_HOST:
        return name
    return ModelName(DEFAULT_HOST, name.namespace, name.model, name.tag, name.scheme)


def _descend(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for found in _alike(folder, parts[0]):
        if len(parts) > 1:
            for rest in _descend(folder / found, parts[1:]):
                yield (found, *rest)
        elif (folder / found).is_file():
            yield (found,)


def _alike(folder: Path, wanted: str) -> list[str]:
    """Names in a folder that are equal but for letter case, the equal one first."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - avoids objects for thousands of names
    except OSError:
        return []
    folded = wanted.lower()
    return sorted((name for name in names if name.lower() == folded), key=lambda n: (n != wanted, n))


def walk_tree(folder: Path) -> Iterator[TreeEntry]:
    """All files and links at any depth, dangling links included; of folders only those that cannot be read."""
    if os.path.lexists(folder):
        yield from _walk(str(folder), ())


def _walk(folder: str, parts: tuple[str, ...]) -> Iterator[TreeEntry]:
    try:
        entries = list(os.scandir(folder))
    except OSError as exc:
        # Deleted meanwhile, unless it is a link to a disk that is not mounted.
        if not isinstance(exc, FileNotFoundError) or Path(folder).is_symlink():
            yield TreeEntry(folder, None)
        return
    for entry in entries:
        if is_litter(entry.name) or UNFINISHED.fullmatch(entry.name):
            continue
        inner = (*parts, entry.name)
        if not entry.is_dir():
            yield TreeEntry(entry.path, _name_of(inner))
        elif len(inner) < _DEPTH:
            yield from _walk(entry.path, inner)
        elif next(_walk(entry.path, inner), None) is not None:
            yield TreeEntry(entry.path, None)


def _name_of(parts: tuple[str, ...]) -> ModelName | None:
    if len(parts) != _DEPTH:
        return None
    try:
        return ModelName(*parts)
    except InvalidModelNameError:
        return None
