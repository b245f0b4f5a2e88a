"""Which blobs are in use, and whether that is known for certain. Consulted before any blob is deleted.

Everything in a manifest that looks like a digest counts, in any member: a later version may refer to blobs in
ways that this one does not know.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from corral.digest import Digest
from corral.errors import CorruptManifestError
from corral.names import ModelName
from corral.store.catalog import ManifestStore
from corral.store.documents import read_bytes
from corral.store.lists import ManifestList, document_of, parse_document
from corral.store.manifests import LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, read_object
from corral.store.strangers import strangers
from corral.store.trees import OLD_TREE, V2_TREE, TreeEntry, walk_tree

_log = logging.getLogger("corral.store")
_SHOWN = 3
_DIGEST = re.compile(rb"sha256[:-]([0-9a-fA-F]{64})")
_BLOB = re.compile(r"sha256-([0-9a-fA-F]{64})")
_KNOWN_TYPES = ("", MANIFEST_MEDIA_TYPE, LIST_MEDIA_TYPE, "application/vnd.oci.image.manifest.v1+json")
_MANIFEST_TYPES = (LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE)
_MAX_DEPTH = 4
_warned: set[tuple[str, ...]] = set()


@dataclass(slots=True)
class References:
    """What all manifests of a models folder refer to, by lower-case hexadecimal digits.

    `unclear` names what may refer to blobs and is not understood; then no blob is known to be unused. `absent` are
    manifests of lists that are not present: what they refer to is not known, but it is not complete either.
    """

    hexes: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    manifest_count: int = 0

    def uses(self, digest: Digest) -> bool:
        """Whether a blob has to be kept, whatever the letter case of its name."""
        return bool(self.unclear) or digest.hex.lower() in self.hexes

    def warn(self) -> None:
        """Log once in the life of the process why nothing is deleted."""
        reasons = tuple(self.unclear)
        if not reasons or reasons in _warned:
            return
        _warned.add(reasons)
        more = len(reasons) - _SHOWN
        _log.warning(
            "nothing is deleted: it is not clear which blobs are in use, because of %s%s",
            ", ".join(reasons[:_SHOWN]),
            f" and {more} more" if more > 0 else "",
        )


def survey(manifests: ManifestStore) -> References:
    """Read everything in a models folder that may refer to a blob. Blocks on the disk."""
    return _Survey(manifests).run()


def survey_for_sweep(manifests: ManifestStore, candidates: Iterable[Path]) -> References:
    """As `survey`; manifests among the blobs that might go are in use as well, with all that they refer to.

    No name leads to them, but they can be run by their digest, and a newer version may need them.
    """
    found = _Survey(manifests)
    found.run()
    return found.with_unnamed(candidates)


def survey_for_deletion(manifests: ManifestStore, leaving: Collection[Digest]) -> References:
    """As `survey`; manifests among the blobs are in use as well, except those that are about to be deleted.

    Only versions that keep manifests as blobs leave such ones, so this is done only where there is a sign of them.
    """
    found = _Survey(manifests)
    references = found.run()
    if not found.has_manifest_blobs and not manifests.trees.v2.exists():
        return references
    names = {digest.file_name().lower() for digest in leaving}
    blobs = manifests.folder.parent / "blobs"
    paths = blobs.iterdir() if blobs.is_dir() else ()
    return found.with_unnamed(path for path in paths if path.name.lower() not in names)


def digests_of(manifests: ManifestStore, name: ModelName) -> set[Digest]:
    """Everything that the entries of a name refer to, as far as that can be read."""
    found = _Survey(manifests)
    for path in manifests.entries(name):
        found.read(path, _shown(path, manifests), 0)
    return {Digest(text) for text in found.written}


class _Survey:
    def __init__(self, manifests: ManifestStore) -> None:
        self._manifests = manifests
        self._blobs = manifests.folder.parent / "blobs"
        self._seen: set[str] = set()
        self._found = References()
        # Digests in the letter case of the manifests.
        self.written: set[str] = set()

    def run(self) -> References:
        trees = self._manifests.trees
        self._found.unclear += strangers(self._manifests.folder.parent)
        self._found.unclear += self._other_trees()
        for entry in (*walk_tree(trees.old), *walk_tree(trees.v2)):
            self._read_entry(entry)
        return self._result()

    def _other_trees(self) -> list[str]:
        """Manifests beside the blobs, if those are a link to another models folder."""
        models, real = self._manifests.folder.parent, self._blobs.resolve().parent
        names = (OLD_TREE, V2_TREE) if real != models.resolve() else ()
        return [str(real / name) for name in names if _is_another(real / name, models / name)]

    @property
    def has_manifest_blobs(self) -> bool:
        return bool(self._seen)

    def with_unnamed(self, paths: Iterable[Path]) -> References:
        """Count manifests among the blobs as well."""
        for path in paths:
            match = _BLOB.fullmatch(path.name)
            if match and match[1].lower() not in self._found.hexes and _looks_like_manifest(path):
                self._read_blob(Digest(match[1]), "blobs", 0)
        return self._result()

    def _result(self) -> References:
        self._found.hexes |= {text.lower() for text in self.written}
        return self._found

    def _read_entry(self, entry: TreeEntry) -> None:
        path = Path(entry.path)
        shown = _shown(path, self._manifests)
        if entry.name is None:
            self._found.unclear.append(shown)
        elif self.read(path, shown, 0):
            self._found.manifest_count += 1
        elif path.is_symlink():
            self._found.unclear.append(f"{shown} (it leads nowhere)")

    def read(self, path: Path, shown: str, depth: int) -> bool:
        """Count what a manifest refers to; returns whether the manifest exists."""
        try:
            data = read_bytes(path)
            self.written.update(match.decode() for match in _DIGEST.findall(data))
            self.written.add(Digest.of(data).hex)
            self._follow(data, shown, depth)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, CorruptManifestError) as exc:
            self._found.unclear.append(f"{shown} ({exc})")
        return True

    def _follow(self, data: bytes, shown: str, depth: int) -> None:
        value = read_object(data)
        if value.get("mediaType", "") not in _KNOWN_TYPES or value.get("schemaVersion", 2) != 2:
            raise CorruptManifestError("it is of an unknown kind")
        document = document_of(value)
        if isinstance(document, ManifestList):
            inner: Iterable[Digest] = [variant.digest for variant in document.variants]
        else:
            inner = [layer.digest for layer in document.layers if layer.media_type in _MANIFEST_TYPES]
        for digest in inner:
            self._read_blob(digest, shown, depth + 1)

    def _read_blob(self, digest: Digest, shown: str, depth: int) -> None:
        """A manifest that is a blob; a file elsewhere is left alone."""
        key = digest.hex.lower()
        if key in self._seen:
            return
        self._seen.add(key)
        if depth > _MAX_DEPTH:
            raise CorruptManifestError("it refers to manifests that refer to manifests")
        if not self.read(self._blobs / digest.file_name(), f"{shown}: {digest.file_name()}", depth):
            self._found.absent.add(key)


def _is_another(tree: Path, ours: Path) -> bool:
    return tree.exists() and not (ours.exists() and tree.samefile(ours))


def _looks_like_manifest(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.read(1) != b"{":
                return False
        parse_document(read_bytes(path))
    except (OSError, CorruptManifestError):
        return False
    return True


def _shown(path: Path, manifests: ManifestStore) -> str:
    return str(path.relative_to(manifests.folder.parent))
