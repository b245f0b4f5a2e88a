"""What a registry sent for a name: one manifest, or a list from which one is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from corral.digest import Digest
from corral.errors import RegistryError
from corral.registry.manifest import check_list, check_manifest, is_list
from corral.store.manifests import Manifest


@dataclass(frozen=True, slots=True)
class PulledModel:
    """The chosen manifest and its bytes; `listed` are the bytes of the list that it was chosen from, if any."""

    manifest: Manifest
    data: bytes
    listed: bytes = b""

    def document_digests(self) -> set[Digest]:
        """Of the manifests that are kept as blobs."""
        return {Digest.of(self.data), Digest.of(self.listed)} if self.listed else set()


async def choose_variant(
    fetch: Callable[[Digest], Awaitable[bytes]], data: bytes, repository: str
) -> PulledModel:
    """The best variant for this machine that the registry has.

    Raises:
        RegistryError: there is none, or it is invalid.
    """
    if not is_list(data):
        return PulledModel(check_manifest(data, repository), data)
    variants = sorted(check_list(data, repository).variants, key=lambda variant: variant.rank)
    problem: RegistryError | None = None
    for variant in variants:
        if not variant.is_runnable:
            break
        try:
            inner = await fetch(variant.digest)
            manifest = check_manifest(inner, repository)
        except RegistryError as exc:
            problem = problem or exc
            continue
        return PulledModel(manifest, inner, data)
    assert problem is not None
    raise problem
