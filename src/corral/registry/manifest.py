"""Checks of a manifest from a registry, before anything is done with it."""

from __future__ import annotations

import json
from typing import Any

from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidRequestError, RegistryProtocolError
from corral.store.lists import ANCHOR_MEDIA_TYPES, NEEDS_MLX, ManifestList, parse_document
from corral.store.manifests import LIST_MEDIA_TYPE, Layer, Manifest
from corral.store.texts import check_text_size

_MAX_LAYERS = 16_384
_MAX_BLOB_BYTES = 1 << 44
_MAX_TOTAL_BYTES = 1 << 45
_EMPTY = Digest.of(b"")
_MANIFEST_TYPES = (
    "",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
# New kinds of models bring new kinds of layers; they have only their beginning in common.
_LAYER_PREFIX = "application/vnd.ollama.image."
_CONFIG_TYPES = ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json")
_TENSOR = "application/vnd.ollama.image.tensor"


def is_list(data: bytes) -> bool:
    """Whether a registry sent a list of manifests."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("mediaType") == LIST_MEDIA_TYPE


def check_list(data: bytes, repository: str) -> ManifestList:
    """A list of manifests that has a variant for this machine.

    Raises:
        RegistryProtocolError: it is invalid, or has no such variant.
    """
    try:
        document = parse_document(data)
    except CorruptManifestError as exc:
        raise RegistryProtocolError(str(exc)) from None
    assert isinstance(document, ManifestList)
    if not any(variant.is_runnable for variant in document.variants):
        if any(variant.runner == "mlx" for variant in document.variants):
            raise RegistryProtocolError(NEEDS_MLX)
        raise RegistryProtocolError(f"no variant of {repository} can run here")
    return document


def check_manifest(data: bytes, repository: str) -> Manifest:
    """Parse the manifest of a model and check all of it.

    Raises:
        RegistryProtocolError: it is not a manifest, or an invalid one; the text says why.
    """
    _check_head(data, repository)
    try:
        manifest = Manifest.parse(data)
    except CorruptManifestError as exc:
        raise RegistryProtocolError(str(exc)) from None
    if len(manifest.layers) > _MAX_LAYERS:
        raise RegistryProtocolError(
            f"the manifest has {len(manifest.layers)} layers, more than {_MAX_LAYERS}"
        )
    if not (
        manifest.config.media_type in _CONFIG_TYPES or manifest.config.media_type.startswith(_LAYER_PREFIX)
    ):
        raise RegistryProtocolError(f"not a model: its config is {manifest.config.media_type[:100]!r}")
    sizes: dict[Digest, int] = {}
    for layer in (manifest.config, *manifest.layers):
        if layer is not manifest.config and not _is_of_model(layer):
            raise RegistryProtocolError(f"not a model: it has a layer of type {layer.media_type[:100]!r}")
        try:
            check_text_size("config" if layer is manifest.config else layer.kind, layer.size_bytes)
        except InvalidRequestError as exc:
            raise RegistryProtocolError(str(exc)) from None
        if layer.size_bytes > _MAX_BLOB_BYTES or (layer.size_bytes == 0) != (_is_empty(layer.digest)):
            raise RegistryProtocolError(f"the size {layer.size_bytes} of {layer.digest} cannot be right")
        if sizes.setdefault(layer.digest, layer.size_bytes) != layer.size_bytes:
            raise RegistryProtocolError(f"the manifest gives {layer.digest} two sizes")
    if sum(sizes.values()) > _MAX_TOTAL_BYTES:
        raise RegistryProtocolError("the layers of the manifest are too large")
    if manifest.runner == "mlx" or any(layer.media_type == _TENSOR for layer in manifest.layers):
        raise RegistryProtocolError(NEEDS_MLX)
    return manifest


def _is_of_model(layer: Layer) -> bool:
    return layer.media_type.startswith(_LAYER_PREFIX) or layer.media_type in ANCHOR_MEDIA_TYPES


def _is_empty(digest: Digest) -> bool:
    return digest.hex.lower() == _EMPTY.hex


def _check_head(data: bytes, repository: str) -> None:
    """What `Manifest.parse` does not check, because manifests on disk need not have it."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return  # which reports that
    if not isinstance(value, dict):
        return
    media_type = value.get("mediaType", "")
    if media_type not in _MANIFEST_TYPES:
        raise RegistryProtocolError(f"not a model: a manifest of type {str(media_type)[:100]!r}")
    if value.get("schemaVersion", 2) != 2:
        raise RegistryProtocolError("not a model: a manifest of another version than 2")
    layers = value.get("layers")
    for layer in [value.get("config"), *(layers if isinstance(layers, list) else [])]:
        if isinstance(layer, dict) and not layer.get("digest"):
            raise RegistryProtocolError(f"{repository}: digest is empty")
