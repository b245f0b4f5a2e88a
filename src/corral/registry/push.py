"""One push: every blob, then the manifest. Reports steps as Ollama does."""

from __future__ import annotations

import asyncio

from corral.errors import RegistryStatusError
from corral.registry.client import RegistryClient
from corral.registry.limits import RateLimit
from corral.registry.policy import TransferPolicy
from corral.registry.slots import HostSlots
from corral.registry.upload import BlobUpload, UploadSessions
from corral.store.manifests import MANIFEST_MEDIA_TYPE, Layer, Manifest
from corral.store.models import ModelStore
from corral.types import Report


class Push:
    """Sends one model from a store to a repository."""

    def __init__(
        self,
        store: ModelStore,
        client: RegistryClient,
        *,
        policy: TransferPolicy,
        limit: RateLimit,
        sessions: UploadSessions,
        slots: HostSlots,
    ) -> None:
        self._store = store
        self._client = client
        self._policy = policy
        self._limit = limit
        self._sessions = sessions
        self._slots = slots

    async def run(self, manifest: Manifest, report: Report) -> None:
        """Do all that follows `retrieving manifest`.

        Raises:
            CorralError: any; what the registry has received by then stays there.
        """
        for layer in (*manifest.layers, manifest.config):
            await self._upload(layer, report)
        await report({"status": "pushing manifest"})
        data = manifest.encode().rstrip(b"\n")
        await self._slots.run(
            self._client.endpoint.host, lambda: self._put_manifest(data), cancel=self._client.cancel
        )
        await report({"status": "success"})

    async def _upload(self, layer: Layer, report: Report) -> None:
        head = {
            "status": f"pushing {layer.digest.hex[:12]}",
            "digest": str(layer.digest),
            "total": layer.size_bytes,
        }
        upload = BlobUpload(
            layer,
            self._store.blobs.path(layer.digest),
            self._client,
            policy=self._policy,
            limit=self._limit,
            sessions=self._sessions,
        )
        reported = 0
        work = asyncio.ensure_future(
            self._slots.run(self._client.endpoint.host, upload.run, cancel=upload.cancel)
        )
        try:
            while not (await asyncio.wait({work}, timeout=self._policy.report_interval_s))[0]:
                reported = max(reported, upload.completed_bytes)
                await report({**head, "completed": reported} if reported else head)
        finally:
            work.cancel()
        await work
        await report({**head, "completed": layer.size_bytes} if layer.size_bytes else head)

    def _put_manifest(self, data: bytes) -> None:
        headers = {"Content-Type": MANIFEST_MEDIA_TYPE}
        response = self._client.request(
            "PUT", self._client.endpoint.manifest_url(), headers=headers, body=data
        )
        text = response.read_error()
        if response.status >= 400:
            raise RegistryStatusError(response.status, text)
