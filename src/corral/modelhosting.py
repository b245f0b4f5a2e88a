"""The models of this server for other machines: whether they are served, and to whom."""

from __future__ import annotations

from corral.api.registry.routes import Registry
from corral.config import Settings
from corral.library.blob_access import BlobAccess
from corral.library.pull import Puller
from corral.library.pull_through import PullThrough
from corral.library.registry_server import Hosting
from corral.store.models import ModelStore
from corral.store.uploads import UploadStore


def open_registry(
    settings: Settings, store: ModelStore, puller: Puller, access: BlobAccess
) -> Registry | None:
    """What is served under `/v2/`; None: nothing.

    A server of a cluster serves its models to the others even if it serves them to nobody else.
    """
    is_for_all = settings.registry_mode != "off" and "registry" not in settings.surfaces_off
    is_for_peers = settings.cluster_mode != "off" and settings.takes_weights_from_peers
    if not (is_for_all or is_for_peers):
        return None
    hosting = Hosting(store, access)
    uploads = UploadStore(settings.models_dir / "corral-uploads", store.blobs)
    mirror = None
    if is_for_all and settings.is_pull_through and not (settings.is_offline or settings.is_read_only):
        trusted = settings.registry_trusted_hosts
        mirror = PullThrough(store, hosting, puller, puller.open_gateway, trusted_hosts=trusted)
    may_push = is_for_all and settings.registry_mode == "push" and not settings.is_read_only
    return Registry(
        hosting,
        store.blobs,
        uploads,
        may_push=may_push,
        mirror=mirror,
        scope="registry:pull" if is_for_all else "cluster",
    )
