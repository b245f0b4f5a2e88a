"""Blobs that were found in a folder without any manifest: they are kept, even when manifests appear.

    <models>/corral/orphans      names of blobs, one a line

A models folder without manifests may be only partly mounted, or not restored yet. If a model is pulled into it
meanwhile, there is a manifest again, and the next sweep would take the blobs of all other models for garbage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from corral.disk import write_atomically
from corral.store.blobs import BlobStore


class Orphans:
    """The list of one models folder."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.path: Path = blobs.folder.parent / "corral" / "orphans"

    def names(self) -> frozenset[str]:
        """Raises OSError: there is a list, and it cannot be read."""
        try:
            return frozenset(self.path.read_text("ascii", "replace").split())
        except FileNotFoundError:
            return frozenset()

    def add(self, names: Iterable[str]) -> None:
        known = self.names()
        wanted = known | set(names)
        if wanted != known:
            write_atomically(self.path, "".join(f"{name}\n" for name in sorted(wanted)).encode())

    def tidy(self, used_hexes: Collection[str]) -> None:
        """Drop those that no longer exist, and those that a manifest refers to again."""
        known = self.names()
        wanted = {
            name
            for name in known
            if name.removeprefix("sha256-").lower() not in used_hexes
            and (self._blobs.folder / name).is_file()
        }
        if wanted == known:
            return
        if wanted:
            write_atomically(self.path, "".join(f"{name}\n" for name in sorted(wanted)).encode())
        else:
            with contextlib.suppress(OSError):
                self.path.unlink()
