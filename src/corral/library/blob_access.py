"""Which blobs a caller may use whose key is bound to some models.

A blob belongs to the models that refer to it: a caller may use it if one of them is allowed, or if there is none yet.
Whoever has sent its content knows it, and may use it as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from corral import caller
from corral.bounded import BoundedCache
from corral.digest import Digest
from corral.errors import ForbiddenError, InvalidDigestError
from corral.store.models import ModelStore
from corral.store.references import digests_of

_MAX_KNOWN = 10_000


class BlobAccess:
    """Asked about the caller of this task. Everything blocks on the disk, but only for callers that are bound."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._sent: BoundedCache[tuple[str, str], bool] = BoundedCache(
            max_entries=_MAX_KNOWN, max_bytes=_MAX_KNOWN
        )

    def may_use(self, digest: Digest) -> bool:
        who = caller.current()
        if who.models is None or self._sent.get((who.key_id, digest.hex.lower())):
            return True
        is_used = False
        for name in self._store.manifests.names():
            if digest.hex.lower() in {found.hex.lower() for found in digests_of(self._store.manifests, name)}:
                if who.may_use(name):
                    return True
                is_used = True
        return not is_used

    def require(self, digests: Iterable[str]) -> None:
        """Raises ForbiddenError: the caller may not use one of some blobs. Others refuse invalid digests."""
        if caller.current().models is None:
            return
        for text in digests:
            try:
                digest = Digest.parse(text)
            except InvalidDigestError:
                continue
            if not self.may_use(digest):
                raise ForbiddenError(
                    f"this API key may not use the blob {digest}", hint="upload the file with this key first"
                )

    def note_sent(self, digest: Digest) -> None:
        """The caller has sent this content."""
        who = caller.current()
        if who.models is not None:
            self._sent.put((who.key_id, digest.hex.lower()), True, 1)
