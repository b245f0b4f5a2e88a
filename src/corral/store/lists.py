"""Manifest lists: one name, several variants of a model. Ollama 0.40 writes them.

    {"mediaType": "application/vnd.ollama.manifest.list.v2+json",
     "manifests": [{"mediaType": ..., "digest": "sha256:...", "runner": "llamacpp", "format": "gguf"}, ...]}

Each variant is a manifest, kept as a blob.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidDigestError
from corral.store.manifests import LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, Manifest, read_object

NEEDS_MLX = "this model requires MLX support, but the MLX runtime is not available"
# Layers of the other variants in an anchor that Corral wrote.
VARIANT_MEDIA_TYPE = "application/vnd.corral.variant.layer"
# Layers that stand for other manifests and their blobs.
ANCHOR_MEDIA_TYPES = frozenset({LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, VARIANT_MEDIA_TYPE})
_MAX_VARIANTS = 16
_RANKS = {"ollama": 0, "ggml": 0, "": 1, "llamacpp": 1}
_OTHER_RANK = 2
_NOT_RUNNABLE_RANK = 9


@dataclass(frozen=True, slots=True)
class Variant:
    """A manifest of a list: what runs it (`ollama`, `ggml`, `llamacpp`, `mlx`), and the format of its weights."""

    digest: Digest
    media_type: str = MANIFEST_MEDIA_TYPE
    runner: str = ""
    format: str = ""

    @property
    def rank(self) -> int:
        """The order in which variants are tried here: those of GGUF weights by runner, then the rest."""
        if self.runner == "mlx" or self.format not in ("", "gguf"):
            return _NOT_RUNNABLE_RANK
        return _RANKS.get(self.runner, _OTHER_RANK)

    @property
    def is_runnable(self) -> bool:
        return self.rank < _NOT_RUNNABLE_RANK

    def with_facts_of(self, manifest: Manifest) -> Variant:
        """What the list does not state is taken from the variant's own manifest."""
        return replace(self, runner=self.runner or manifest.runner, format=self.format or manifest.format)


@dataclass(frozen=True, slots=True)
class ManifestList:
    """The variants in the order of the list."""

    variants: tuple[Variant, ...]


Document = Manifest | ManifestList


def parse_document(data: bytes) -> Document:
    """Read a manifest or a list of them.

    Raises:
        CorruptManifestError: neither; the text names what is wrong.
    """
    return document_of(read_object(data))


def document_of(value: dict[str, Any]) -> Document:
    """The same for a JSON object. Raises CorruptManifestError."""
    if value.get("mediaType") == LIST_MEDIA_TYPE or ("manifests" in value and "config" not in value):
        return _parse_list(value)
    return Manifest.from_json(value)


def split_anchor(manifest: Manifest) -> tuple[Manifest, list[Digest]]:
    """A manifest's layers without those that stand for other manifests, and the lists among the latter.

    Ollama writes such an anchor into the old tree, so that old versions do not delete the blobs of a list.
    """
    if not any(layer.media_type in ANCHOR_MEDIA_TYPES for layer in manifest.layers):
        return manifest, []
    lists = [layer.digest for layer in manifest.layers if layer.media_type == LIST_MEDIA_TYPE]
    return replace(
        manifest,
        layers=tuple(layer for layer in manifest.layers if layer.media_type not in ANCHOR_MEDIA_TYPES),
    ), lists


def _parse_list(value: dict[str, Any]) -> ManifestList:
    entries = value.get("manifests")
    if not isinstance(entries, list) or not entries or len(entries) > _MAX_VARIANTS:
        raise CorruptManifestError("manifest list has no valid list of manifests")
    return ManifestList(tuple(map(_parse_variant, entries)))


def _parse_variant(value: Any) -> Variant:
    if not isinstance(value, dict):
        raise CorruptManifestError("an entry of a manifest list is not a JSON object")
    texts = [value.get(name) or "" for name in ("mediaType", "runner", "format")]
    if any(not isinstance(text, str) for text in texts):
        raise CorruptManifestError("an entry of a manifest list has members of wrong types")
    if texts[0] == LIST_MEDIA_TYPE:
        raise CorruptManifestError("a manifest list in a manifest list is not supported")
    try:
        digest = Digest.parse(str(value.get("digest", "")))
    except InvalidDigestError:
        raise CorruptManifestError("an entry of a manifest list has no valid digest") from None
    return Variant(digest, texts[0] or MANIFEST_MEDIA_TYPE, texts[1].lower(), texts[2].lower())
