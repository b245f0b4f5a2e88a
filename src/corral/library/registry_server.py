"""The library as a registry: lists repositories and tags, reads and writes manifests byte for byte.

A repository is `namespace/model` of the default registry, or `host/namespace/model` of any other; a client that
mirrors another registry may pass that as `origin` instead (containerd's `ns` parameter).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from corral import caller
from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidRequestError, ModelNotFoundError
from corral.library.blob_access import BlobAccess
from corral.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName
from corral.registry.manifest import check_manifest
from corral.store.catalog import StoredManifest
from corral.store.documents import read_bytes
from corral.store.manifests import MANIFEST_MEDIA_TYPE
from corral.store.models import ModelStore


class UnknownRepositoryError(ModelNotFoundError):
    """There is no model with this name, whatever the tag."""

    def __init__(self, repository: str) -> None:
        super().__init__(repository, "repository name not known to registry")


class UnknownBlobError(ModelNotFoundError):
    """The blob is not in the store."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(str(digest), f"blob unknown to registry: {digest}")


class MissingBlobError(InvalidRequestError):
    """A manifest refers to a blob that was not uploaded or has another size."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"blob unknown to registry: {digest}")
        self.digest = digest


@dataclass(frozen=True, slots=True)
class HostedManifest:
    """The bytes of a manifest, with media type and digest."""

    data: bytes
    media_type: str
    digest: Digest


class Hosting:
    """Reads and writes manifests for other machines. Every method blocks on the disk."""

    def __init__(self, store: ModelStore, access: BlobAccess) -> None:
        self._store = store
        self.access = access

    def name_of(self, repository: str, tag: str, origin: str = "") -> ModelName:
        """The model of a repository and a tag, in the letter case of the disk.

        Raises:
            InvalidModelNameError
        """
        parts = repository.split("/")
        host = origin or DEFAULT_HOST
        if len(parts) == 3:
            host = parts.pop(0)
        elif len(parts) == 1:
            parts.insert(0, DEFAULT_NAMESPACE)
        if len(parts) != 2:
            return ModelName.parse(repository + "//")  # raises: no name has so many parts
        if host.lower() in (DEFAULT_HOST, "ollama.com"):
            host = DEFAULT_HOST
        return self._store.manifests.resolve(ModelName(host, parts[0], parts[1], tag))

    def repositories(self) -> list[str]:
        """All repositories with a tag that the caller may use, sorted."""
        who = caller.current()
        stored = (stored.name for stored in self._store.manifests.stored())
        return sorted({_repository_of(name) for name in stored if who.may_use(name)})

    def tags(self, repository: str, origin: str = "") -> list[str]:
        """The tags of a repository that the caller may use, sorted.

        Raises:
            UnknownRepositoryError, InvalidModelNameError
        """
        found = sorted(stored.name.tag for stored in self._stored(repository, origin))
        if not found:
            raise UnknownRepositoryError(repository)
        return found

    def manifest(self, repository: str, reference: str, origin: str = "") -> HostedManifest:
        """The manifest of a tag or digest; for a list, that of the variant that this server runs.

        Raises:
            ModelNotFoundError, CorruptManifestError, InvalidModelNameError, InvalidDigestError, ForbiddenError
        """
        if ":" in reference:
            wanted = Digest.parse(reference).hex.lower()
            hosted = (hosted_manifest(read_bytes(s.source)) for s in self._stored(repository, origin))
            matching = next((found for found in hosted if found.digest.hex == wanted), None)
            if matching is None:
                raise ModelNotFoundError(repository, "manifest unknown")
            return matching
        name = self.name_of(repository, reference, origin)
        caller.require_model(name)
        try:
            return hosted_manifest(read_bytes(self._store.manifests.read(name).source))
        except FileNotFoundError:
            raise ModelNotFoundError(repository, "manifest unknown") from None

    def put_manifest(self, repository: str, reference: str, data: bytes, origin: str = "") -> Digest:
        """Store a manifest whose blobs are all present.

        Raises:
            CorruptManifestError, RegistryProtocolError: it is not a valid manifest of a model.
            MissingBlobError
            InvalidRequestError: a push by digest instead of a tag.
        """
        if ":" in reference:
            raise InvalidRequestError("a manifest is pushed by its tag")
        name = self.name_of(repository, reference, origin)
        caller.require_model(name)
        hosted, manifest = hosted_manifest(data), check_manifest(data, repository)
        for layer in (manifest.config, *manifest.layers):
            if not self.access.may_use(layer.digest):
                raise MissingBlobError(layer.digest)
            try:
                size_bytes = self._store.blobs.size_bytes(layer.digest)
            except OSError:
                raise MissingBlobError(layer.digest) from None
            if size_bytes != layer.size_bytes:
                raise MissingBlobError(layer.digest)
        self._store.manifests.write(name, data)
        return hosted.digest

    def _stored(self, repository: str, origin: str) -> list[StoredManifest]:
        wanted = self.name_of(repository, DEFAULT_TAG, origin).path_parts()[:3]
        found = [s for s in self._store.manifests.stored() if s.name.path_parts()[:3] == wanted]
        return [stored for stored in found if caller.current().may_use(stored.name)]


def _repository_of(name: ModelName) -> str:
    return name.repository() if name.host == DEFAULT_HOST else f"{name.host}/{name.repository()}"


def hosted_manifest(data: bytes) -> HostedManifest:
    """Raises CorruptManifestError."""
    try:
        media_type = json.loads(data).get("mediaType") or MANIFEST_MEDIA_TYPE
    except (ValueError, RecursionError, AttributeError) as exc:
        raise CorruptManifestError(f"manifest is not a JSON object: {exc}") from None
    if not isinstance(media_type, str) or not media_type.isascii() or not media_type.isprintable():
        raise CorruptManifestError("manifest has an invalid media type")
    return HostedManifest(data, media_type, Digest.of(data))
