"""The files of a tree of manifests, `<host>/<namespace>/<model>/<tag>`, and whatever else lies in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.errors import InvalidModelNameError
from corral.names import ModelName
from corral.store.strangers import is_litter

__all__ = ["UNFINISHED", "TreeEntry", "walk_tree"]

_DEPTH = 4
# What `write_atomically` has not renamed yet; the group is the number of the process.
UNFINISHED = re.compile(r"\..+\.(\d+)\.\d+")


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file of a tree. `name` None: its place is not that of a manifest, or cannot be looked into."""

    path: Path
    name: ModelName | None


def walk_tree(folder: Path) -> Iterator[TreeEntry]:
    """All files and links, at whatever depth, dangling links too; no folders but those that cannot be read."""
    if os.path.lexists(folder):
        yield from _walk(folder, ())


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[TreeEntry]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        if folder.is_symlink():  # to a disk that is not mounted
            yield TreeEntry(folder, None)
        return
    except OSError:
        yield TreeEntry(folder, None)
        return
    for entry in entries:
        if is_litter(entry.name) or UNFINISHED.fullmatch(entry.name):
            continue
        path, inner = Path(entry.path), (*parts, entry.name)
        if entry.is_dir():
            yield from _walk(path, inner)
        else:
            yield TreeEntry(path, _name_of(inner))


def _name_of(parts: tuple[str, ...]) -> ModelName | None:
    if len(parts) != _DEPTH:
        return None
    try:
        return ModelName(*parts)
    except InvalidModelNameError:
        return None
