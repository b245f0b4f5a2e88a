"""Names and their manifests: read from both trees, written to the one that every version of Ollama reads.

The entry of a name in `manifests-v2` comes first, as it does for Ollama 0.40 and later. So a name that is written by
Corral loses its entry there: for both programs the newest write counts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from corral.bounded import BoundedCache
from corral.digest import Digest
from corral.disk import sync_folder, write_atomically
from corral.errors import CorruptManifestError
from corral.names import ModelName
from corral.store.documents import Witness
from corral.store.lists import ManifestList, Variant, split_anchor
from corral.store.manifests import Layer, Manifest
from corral.store.trees import Trees

_DIGEST_NAME = re.compile(r"sha256-([0-9a-fA-F]{12,64})")
_BLOB = re.compile(r"sha256-[0-9a-fA-F]{64}")
_HEX_DIGITS = 64
_MAX_LOOKED_AT = 64
_MAX_CACHED = 20_000
_MAX_CACHED_BYTES = 48 << 20
# Memory that an entry, a byte of its JSON when parsed, and the record of a file take.
_ENTRY_BYTES = 1000
_BYTES_EACH = 5
_STAMP_BYTES = 500
# Stands for the manifest of a list until a variant is chosen.
_NOTHING = Manifest(Layer("", Digest(""), 0), ())


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """The manifest of a name. `digest_hex` is the model's ID: the SHA-256 of what its entry holds.

    `entry` is its file in a tree; `source` is the file that this manifest was read from: the entry, or the blob of
    a list's variant. `list_digest`: the list that it was chosen from. `is_made_here`: a create wrote it, which ends
    the file with a newline; a manifest from a registry has none.
    """

    name: ModelName
    manifest: Manifest
    digest_hex: str
    modified_ns: int
    entry: Path
    source: Path
    is_made_here: bool = False
    list_digest: Digest | None = None


class ManifestStore:
    """The manifests of a models folder; `folder` is the tree that is written to. Blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trees = Trees(folder.parent)
        # Counts the changes that this process made, so that caches can see them.
        self.generation = 0
        self._blobs = folder.parent / "blobs"
        self._cache: BoundedCache[ModelName, tuple[Witness, StoredManifest]] = BoundedCache(
            max_entries=_MAX_CACHED, max_bytes=_MAX_CACHED_BYTES
        )

    def path(self, name: ModelName) -> Path:
        """Where the manifest of a name is written."""
        return self.trees.path(name)

    def peek(self, name: ModelName) -> StoredManifest | None:
        """The manifest of a name in exactly this case if it was read before and nothing has changed: some `stat`s."""
        cached = self._cache.get(name)
        return cached[1] if cached is not None and cached[0].is_still_so() else None

    def read(self, name: ModelName) -> StoredManifest:
        """The manifest of a name in exactly this case.

        Raises:
            FileNotFoundError: no such model.
            CorruptManifestError, OSError
        """
        if (cached := self.peek(name)) is not None:
            return cached
        witness = Witness()
        stored = self._read(name, witness)
        size_bytes = _ENTRY_BYTES + witness.size_bytes * _BYTES_EACH + len(witness.seen) * _STAMP_BYTES
        self._cache.put(name, (witness, stored), size_bytes)
        return stored

    def _read(self, name: ModelName, witness: Witness) -> StoredManifest:
        problem: Exception = FileNotFoundError(str(self.path(name)))
        for entry in (
            *self.trees.v2_paths(name),
            *self.trees.old_paths(name),
            *self._by_digest(name, witness),
        ):
            try:
                return self._read_entry(name, entry, witness)
            except FileNotFoundError:
                continue
            except (CorruptManifestError, OSError) as exc:
                problem = exc
        raise problem

    def _read_entry(self, name: ModelName, entry: Path, witness: Witness) -> StoredManifest:
        found = witness.read(entry)
        document, modified_ns = found.document, entry.lstat().st_mtime_ns
        if isinstance(document, Manifest):
            manifest, lists = split_anchor(document)
            # The manifest that stands for a list is written by Corral too, but came from a registry.
            is_made_here = found.has_newline and not lists
            stored = StoredManifest(
                name, manifest, found.digest_hex, modified_ns, entry, entry, is_made_here=is_made_here
            )
            for digest in lists[:1]:
                with contextlib.suppress(FileNotFoundError, CorruptManifestError):
                    listed = witness.read(self._blobs / digest.file_name()).document
                    if isinstance(listed, ManifestList):
                        return self._choose(stored, listed, digest, witness)
            return stored
        placeholder = StoredManifest(name, _NOTHING, found.digest_hex, modified_ns, entry, entry)
        return self._choose(placeholder, document, Digest(found.digest_hex), witness)

    def _choose(
        self, stored: StoredManifest, listed: ManifestList, digest: Digest, witness: Witness
    ) -> StoredManifest:
        """The variant for this machine: the first that is complete, else the first that is present."""
        present: list[tuple[Variant, Manifest]] = []
        for variant in listed.variants:
            with contextlib.suppress(FileNotFoundError):
                document = witness.read(self._blobs / variant.digest.file_name()).document
                if isinstance(document, ManifestList):
                    raise CorruptManifestError("a manifest list in a manifest list is not supported")
                present.append((variant.with_facts_of(document), document))
        if not present:
            raise CorruptManifestError("no manifest of the manifest list is present")
        variant, manifest = min(
            present,
            key=lambda pair: (not (pair[0].is_runnable and self._is_whole(pair[1], witness)), pair[0].rank),
        )
        return replace(
            stored,
            manifest=replace(manifest, runner=variant.runner, format=variant.format),
            digest_hex=digest.hex.lower(),
            source=self._blobs / variant.digest.file_name(),
            list_digest=digest,
        )

    def _is_whole(self, manifest: Manifest, witness: Witness) -> bool:
        """Whether the first layers are present: each is checked again with every request."""
        layers = (manifest.config, *manifest.layers)[:_MAX_LOOKED_AT]
        return all(witness.has(self._blobs / layer.digest.file_name()) for layer in layers)

    def _by_digest(self, name: ModelName, witness: Witness) -> Iterator[Path]:
        """The blob that a name of the form `sha256-<12 to 64 hex>` stands for, if exactly one matches."""
        match = _DIGEST_NAME.fullmatch(name.model)
        if match is None or ModelName.parse(name.model) != name:
            return
        witness.has(self._blobs)  # a blob that appears or vanishes may change the answer
        if len(match[1]) == _HEX_DIGITS:
            yield self._blobs / f"sha256-{match[1].lower()}"
            return
        found = sorted(self._blobs.glob(f"sha256-{match[1].lower()}*"))
        manifests = [path for path in found if _BLOB.fullmatch(path.name) and self._is_manifest(path)]
        if len(manifests) == 1:
            yield manifests[0]

    def _is_manifest(self, path: Path) -> bool:
        try:
            Witness().read(path)
        except (OSError, CorruptManifestError):
            return False
        return True

    def entries(self, name: ModelName) -> list[Path]:
        """The files that make up a name, in the order in which they may be removed.

        The entry in the tree that old versions read comes last: until then it protects the blobs from them.
        """
        newer = [path for path in self.trees.v2_paths(name) if _is_entry(path)]
        old = [path for path in self.trees.old_paths(name) if _is_entry(path)]
        # Without an entry in the newer tree, the two hosts of the registry are two models.
        return newer + (old if newer else old[:1])

    def write(self, name: ModelName, data: bytes) -> None:
        """Store manifest bytes as they are. The entry in the other tree is removed: it would hide them."""
        write_atomically(self.path(name), data)
        for path in self.trees.v2_paths(name):
            self._remove(path, self.trees.v2)
        self.generation += 1

    def delete(self, name: ModelName) -> None:
        """Remove the entries of a name, and the folders that become empty.

        Raises:
            FileNotFoundError
        """
        entries = self.entries(name)
        for path in entries:
            self._remove(path, self.folder if path.is_relative_to(self.folder) else self.trees.v2)
        self.generation += 1
        self._cache.pop(name)
        if not entries:
            raise FileNotFoundError(str(self.path(name)))

    def _remove(self, path: Path, root: Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
            # Before anything that it refers to is deleted, and before anybody is told: an entry that comes back after
            # a power cut would name blobs that are gone, or hide a newer one.
            sync_folder(path.parent)
            _remove_empty_folders(path.parent, root)

    def names(self) -> Iterator[ModelName]:
        """All names with an entry; invalid names are skipped."""
        return self.trees.names()

    def stored(self) -> Iterator[StoredManifest]:
        """All manifests that can be read."""
        for name in self.names():
            with contextlib.suppress(OSError, CorruptManifestError):
                yield self.read(name)

    def find(self, name: ModelName) -> ModelName | None:
        """The name of a model in any letter case; the one in this case comes first."""
        return self.trees.find(name)

    def resolve(self, name: ModelName) -> ModelName:
        """The name with each part in the case that any model on disk has, if one has it."""
        if any(path.is_file() for path in (*self.trees.v2_paths(name), *self.trees.old_paths(name))):
            return name
        wanted = name.path_parts()
        found = list(wanted)
        for existing in self.names():
            for i, part in enumerate(existing.path_parts()):
                if part != wanted[i] and part.lower() == wanted[i].lower():
                    found[i] = part
        return ModelName(found[0], found[1], found[2], found[3], name.scheme)


def _is_entry(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _remove_empty_folders(folder: Path, root: Path) -> None:
    """Remove a folder and those above it as far as they are empty, the tree's root included."""
    with contextlib.suppress(OSError):
        while folder != root.parent:
            folder.rmdir()
            folder = folder.parent
