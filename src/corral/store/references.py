"""Which blobs are in use, and whether that is all there is to know. Whoever deletes a blob asks here first."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corral.digest import Digest
from corral.errors import CorruptManifestError
from corral.store.manifests import ManifestStore
from corral.store.strangers import strangers
from corral.store.trees import walk_tree

__all__ = ["References", "survey"]

_log = logging.getLogger("corral.store")
_SHOWN = 3
_warned: set[tuple[str, ...]] = set()


@dataclass(frozen=True, slots=True)
class References:
    """What all manifests of a models folder refer to.

    `unclear` names what may refer to blobs and is not understood; then nothing is known to be unused.
    """

    hexes: frozenset[str]
    unclear: tuple[str, ...]
    manifest_count: int

    def uses(self, digest: Digest) -> bool:
        """Whether a blob has to stay, whatever the letter case of its name."""
        return bool(self.unclear) or digest.hex.lower() in self.hexes

    def warn(self) -> None:
        """Tell once in the life of the process why nothing is deleted."""
        if not self.unclear or self.unclear in _warned:
            return
        _warned.add(self.unclear)
        more = len(self.unclear) - _SHOWN
        _log.warning(
            "nothing is deleted: it is not clear which blobs are in use, because of %s%s",
            ", ".join(self.unclear[:_SHOWN]),
            f" and {more} more" if more > 0 else "",
        )


def survey(manifests: ManifestStore) -> References:
    """Look at everything in a models folder that may refer to a blob. Blocks on the disk."""
    models = manifests.folder.parent
    hexes: set[str] = set()
    unclear = list(strangers(models))
    count = 0
    for entry in walk_tree(manifests.folder):
        try:
            if entry.name is None:
                unclear.append(_shown(entry.path, models))
                continue
            stored = manifests.read(entry.name)
        except FileNotFoundError:
            if entry.path.is_symlink():
                unclear.append(_shown(entry.path, models))
        except (OSError, CorruptManifestError) as exc:
            unclear.append(f"{_shown(entry.path, models)} ({exc})")
        else:
            count += 1
            hexes.update(_hexes(stored.manifest.digests()))
    return References(frozenset(hexes), tuple(unclear), count)


def _hexes(digests: Iterable[Digest]) -> Iterable[str]:
    return (digest.hex.lower() for digest in digests)


def _shown(path: Path, models: Path) -> str:
    return str(path.relative_to(models))
