"""Manifests: which layers a model has. Read tolerantly, written exactly, found in any letter case.

Ollama: manifest/manifest.go, manifest/paths.go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidDigestError, InvalidModelNameError
from corral.gowire import encode
from corral.names import ModelName
from corral.store.blobs import write_atomically

__all__ = ["CONFIG_MEDIA_TYPE", "MANIFEST_MEDIA_TYPE", "Layer", "Manifest", "ManifestStore", "StoredManifest"]

MANIFEST_MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_MEDIA_TYPE = "application/vnd.docker.container.image.v1+json"
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_LAYERS = 65_536
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob of a model and what it is. `from_` is where it came from, `name` its file (tensor models)."""

    media_type: str
    digest: Digest
    size_bytes: int
    from_: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        """The last word of an Ollama media type: `model`, `template`, ..."""
        return self.media_type.removeprefix("application/vnd.ollama.image.")

    def to_json(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size_bytes,
        }
        if self.from_:
            members["from"] = self.from_
        if self.name:
            members["name"] = self.name
        return members


@dataclass(frozen=True, slots=True)
class Manifest:
    """A config blob and layers in order."""

    config: Layer
    layers: tuple[Layer, ...]

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read manifest bytes.

        Raises:
            CorruptManifestError: no manifest; the text says where it breaks.
        """
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise CorruptManifestError("EOF" if not data.strip() else f"manifest is no JSON: {exc}") from None
        if not isinstance(value, dict):
            raise CorruptManifestError("manifest is no JSON object")
        layers = value.get("layers") or []
        if not isinstance(layers, list) or len(layers) > _MAX_LAYERS:
            raise CorruptManifestError("manifest has no sound list of layers")
        return cls(_parse_layer(value.get("config")), tuple(map(_parse_layer, layers)))

    def encode(self) -> bytes:
        """The bytes as Ollama writes them."""
        return (
            encode(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST_MEDIA_TYPE,
                    "config": self.config.to_json(),
                    "layers": [layer.to_json() for layer in self.layers],
                }
            )
            + b"\n"
        )

    @property
    def size_bytes(self) -> int:
        """Config and all layers, duplicates counted as often as they are listed."""
        return self.config.size_bytes + sum(layer.size_bytes for layer in self.layers)

    def digests(self) -> set[Digest]:
        return {self.config.digest, *(layer.digest for layer in self.layers)}


def _parse_layer(value: Any) -> Layer:
    if not isinstance(value, dict):
        raise CorruptManifestError("a layer is no JSON object")
    texts = [value.get(name) or "" for name in ("mediaType", "from", "name")]
    size = value.get("size", 0)
    if any(not isinstance(text, str) for text in texts) or not isinstance(size, int) or size < 0:
        raise CorruptManifestError("a layer has members of wrong types")
    try:
        digest = Digest.parse(str(value.get("digest", "")))
    except InvalidDigestError:
        raise CorruptManifestError(f"a layer has no sound digest: {value.get('digest')!r}") from None
    return Layer(texts[0], digest, size, texts[1], texts[2])


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest on disk. `digest_hex` is the SHA-256 of the file: the model's ID.

    `is_made_here`: a create wrote it, which ends the file with a newline; what comes from a registry has none.
    """

    name: ModelName
    manifest: Manifest
    digest_hex: str
    modified_ns: int
    is_made_here: bool = False


class ManifestStore:
    """The `manifests` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Counts the changes that this process made; whoever caches what it read can tell.
        self.generation = 0
        self._cache: dict[Path, tuple[tuple[int, int, int], StoredManifest]] = {}

    def path(self, name: ModelName) -> Path:
        return self.folder.joinpath(*name.path_parts())

    def read(self, name: ModelName) -> StoredManifest:
        """The manifest of a name in exactly this case; one `stat` when it has not changed.

        Raises:
            FileNotFoundError: no such model.
            CorruptManifestError
        """
        path = self.path(name)
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            cached = self._cache.get(path)
            if cached is not None and cached[0] == stamp:
                return cached[1]
            with path.open("rb") as file:
                data = file.read(_MAX_MANIFEST_BYTES + 1)
        except (NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError(str(path)) from None
        if len(data) > _MAX_MANIFEST_BYTES:
            raise CorruptManifestError(f"manifest is larger than {_MAX_MANIFEST_BYTES} bytes")
        digest_hex = hashlib.sha256(data).hexdigest()
        stored = StoredManifest(
            name, Manifest.parse(data), digest_hex, stat.st_mtime_ns, is_made_here=data.endswith(b"\n")
        )
        self._cache[path] = (stamp, stored)
        return stored

    def write(self, name: ModelName, data: bytes) -> None:
        """Store manifest bytes as they are."""
        write_atomically(self.path(name), data)
        self.generation += 1

    def delete(self, name: ModelName) -> None:
        """Remove a manifest and the folders that it leaves empty.

        Raises:
            FileNotFoundError
        """
        path = self.path(name)
        path.unlink()
        self.generation += 1
        self._cache.pop(path, None)
        self.remove_empty_folders(path.parent)

    def remove_empty_folders(self, folder: Path) -> None:
        """Remove a folder and those above it as far as they are empty, up to `manifests` itself."""
        with contextlib.suppress(OSError):
            while folder != self.folder.parent:
                folder.rmdir()
                folder = folder.parent

    def names(self) -> Iterator[ModelName]:
        """All names with a manifest file; others than valid ones are passed over."""
        for parts in _walk(str(self.folder), _DEPTH):
            with contextlib.suppress(InvalidModelNameError):
                yield ModelName(*parts)

    def stored(self) -> Iterator[StoredManifest]:
        """All manifests that can be read."""
        for name in self.names():
            with contextlib.suppress(OSError, CorruptManifestError):
                yield self.read(name)

    def resolve(self, name: ModelName) -> ModelName:
        """The name with each part in the case that is on disk (in whichever model), if there is one."""
        if self.path(name).is_file():
            return name
        wanted = name.path_parts()
        found = list(wanted)
        for existing in self.names():
            for i, part in enumerate(existing.path_parts()):
                if part != wanted[i] and part.lower() == wanted[i].lower():
                    found[i] = part
        return ModelName(found[0], found[1], found[2], found[3], name.scheme)


def _walk(folder: str, depth: int) -> Iterator[tuple[str, ...]]:
    """Path parts of the files exactly `depth` levels below a folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if depth == 1:
            if entry.is_file():
                yield (entry.name,)
        elif entry.is_dir():
            for rest in _walk(entry.path, depth - 1):
                yield (entry.name, *rest)
