"""Copies and deletions of whole models, in both trees of manifests."""

from __future__ import annotations

from corral.errors import CorruptManifestError
from corral.names import ModelName
from corral.store.documents import read_bytes
from corral.store.lists import VARIANT_MEDIA_TYPE, ManifestList, parse_document
from corral.store.manifests import LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, Layer, Manifest
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced
from corral.store.references import digests_of


def copy_model(store: ModelStore, source: ModelName, destination: ModelName) -> None:
    """Give a model another name; it keeps its ID.

    Raises:
        FileNotFoundError: there is no such model.
        CorruptManifestError
    """
    digests = store.manifests.read(source).manifest.digests() | digests_of(store.manifests, source)
    with store.pinned(digests):
        stored = store.manifests.read(source)
        data = read_bytes(stored.entry)
        if stored.list_digest is not None:
            is_list = isinstance(parse_document(data), ManifestList)
            listed = data if is_list else read_bytes(store.blobs.path(stored.list_digest))
            data = anchor_of(store, stored.manifest, listed)
        store.manifests.write(destination, data)


def anchor_of(store: ModelStore, plain: Manifest, data: bytes) -> bytes:
    """The manifest that stands for a list in the tree that every version reads; the list becomes a blob.

    It has all of `plain`, the chosen variant, and layers of other kinds for all other blobs of the list, so that
    a program that reads this tree alone does not take them for unused.
    """
    listed = store.blobs.put_bytes(data)
    layers = [Layer(LIST_MEDIA_TYPE, listed.digest, listed.size_bytes)]
    known = plain.digests()
    document = parse_document(data)
    assert isinstance(document, ManifestList)
    for variant in document.variants:
        try:
            inner = read_bytes(store.blobs.path(variant.digest))
            manifest = parse_document(inner)
        except (FileNotFoundError, CorruptManifestError):
            continue
        layers.append(Layer(MANIFEST_MEDIA_TYPE, variant.digest, len(inner)))
        if isinstance(manifest, Manifest):
            others = (layer for layer in (manifest.config, *manifest.layers) if layer.digest not in known)
            layers += [Layer(VARIANT_MEDIA_TYPE, layer.digest, layer.size_bytes) for layer in others]
            known |= manifest.digests()
    return Manifest(plain.config, (*plain.layers, *layers), plain.runner, plain.format).encode()


def delete_model(store: ModelStore, name: ModelName) -> None:
    """Remove a model, and those of its blobs that certainly nobody else uses.

    Raises:
        FileNotFoundError: there is no such model.
    """
    digests = digests_of(store.manifests, name)
    store.manifests.delete(name)
    delete_unreferenced(store, digests)
