"""The create pipeline: progress objects with Ollama's texts and order, and one manifest at the end.

Nothing refers to a new layer before the manifest is written, and layers of a failed create are deleted, so a failure
leaves the store unchanged. Long work runs in a worker process that ends with the create.
Ollama: server/create.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from corral import caller
from corral.digest import Digest
from corral.errors import (
    CorralError,
    InvalidModelNameError,
    InvalidRequestError,
    ModelNotFoundError,
)
from corral.library.blob_access import BlobAccess
from corral.library.create.change import working
from corral.library.create.draft import ModelDraft
from corral.library.create.files import blob_path, kind_of_files
from corral.library.create.jobs import Jobs
from corral.library.create.remote import normalize_remote
from corral.library.create.request import CreateRequest, parse_info
from corral.library.create.weights import Weights
from corral.names import ModelName, looks_like_file, parse_ref
from corral.store.manifests import CONFIG_MEDIA_TYPE, Layer, Manifest
from corral.store.models import Model, ModelStore
from corral.store.references import digests_of
from corral.store.workspace import Workspace
from corral.threads import in_thread
from corral.types import Report

# Pulls a model that a FROM names and that is missing.
PullBase = Callable[[str, Report], Awaitable[None]]


class Creator:
    """Creates models in one store."""

    def __init__(
        self,
        store: ModelStore,
        *,
        may_prune: bool,
        puller: PullBase | None = None,
        jobs: Jobs | None = None,
        access: BlobAccess | None = None,
    ) -> None:
        self._store = store
        self._access = access or BlobAccess(store)
        self._may_prune = may_prune
        self._puller = puller
        self._jobs = jobs or Jobs()

    def check(self, request: CreateRequest) -> None:
        """Checks before anything starts.

        Raises:
            InvalidRequestError
            ForbiddenError: the caller may not use this name, or the model to start from.
        """
        request.check_files()
        caller.require_model(ModelName.parse(request.model))

    async def create(self, request: CreateRequest, report: Report) -> None:
        """Create the model that a request describes.

        Raises:
            CorralError: of any class; then no manifest was written.
        """
        name = await asyncio.to_thread(self._store.manifests.resolve, ModelName.parse(request.model))
        await asyncio.to_thread(self._access.require, request.blobs())
        async with working(self._store) as workspace:
            draft = ModelDraft(workspace)
            weights = Weights(self._store, self._jobs, draft, report)
            await self._gather(draft, weights, request, report)
            draft.apply_info(parse_info(request.info))
            await weights.quantize(request)
            for _ in range(weights.checked_count):
                await report({"status": "verifying conversion"})
            await in_thread(draft.apply_texts, request)
            unused = await self._finish(name, draft, report)
            await in_thread(workspace.delete_unused, self._store.manifests, unused)
        await report({"status": "success"})

    async def _gather(
        self, draft: ModelDraft, weights: Weights, request: CreateRequest, report: Report
    ) -> None:
        """Add the base layers, from another model or from files, then drafts and adapters."""
        if request.from_:
            await self._take_base(draft, request, report)
        elif request.files is not None:
            if await asyncio.to_thread(kind_of_files, self._store.blobs, request.files) == "safetensors":
                await weights.convert(request.files, quantize=request.quantize)
            else:
                await weights.import_files(request.files)
        else:
            raise InvalidRequestError("neither 'from' or 'files' was specified")
        if request.draft_files:
            if draft.config.remote_model:
                raise InvalidRequestError("DRAFT cannot be used with remote models")
            await self._take_drafts(weights, request.draft_files)
        if request.adapters is not None:
            await self._take_adapters(weights, request.adapters)

    async def _take_base(self, draft: ModelDraft, request: CreateRequest, report: Report) -> None:
        try:
            ref = parse_ref(request.from_)
            name = ModelName.parse(ref.base)
        except InvalidRequestError:
            raise InvalidModelNameError(request.from_) from None
        caller.require_model(name)
        if ref.source == "cloud" or request.remote_host:
            host = normalize_remote(request.remote_host or "https://ollama.com:443")
            draft.config = replace(draft.config, remote_host=host, remote_model=ref.base)
            return
        try:
            base = await in_thread(self._hold_base, draft.workspace, name)
        except ModelNotFoundError:
            if looks_like_file(request.from_):
                raise InvalidRequestError(
                    f"there is no model {request.from_!r}, and the server does not read files for its clients: "
                    "upload the file to /api/blobs/sha256:<digest> and name it in files, or use the create command"
                ) from None
            if self._puller is None:
                raise CorralError("pull model manifest: file does not exist") from None
            await self._puller(request.from_, report)
            base = await in_thread(self._hold_base, draft.workspace, name, is_exact=False)
        draft.take_base(base)

    def _hold_base(self, workspace: Workspace, name: ModelName, *, is_exact: bool = True) -> Model:
        """A model whose blobs are kept even if it is deleted meanwhile. Raises ModelNotFoundError."""
        load = self._store.load if is_exact else self._store.find
        for layer in load(name).layers:
            workspace.hold(layer.digest)
        return load(name)

    async def _take_drafts(self, weights: Weights, files: Mapping[str, str]) -> None:
        kind = await asyncio.to_thread(kind_of_files, self._store.blobs, files)
        if kind == "safetensors":
            raise InvalidRequestError(
                "a draft model in safetensors format cannot be converted; convert it to GGUF first"
            )
        await weights.import_files(files, as_draft=True)

    async def _take_adapters(self, weights: Weights, adapters: Mapping[str, str]) -> None:
        """Faults of an adapter are errors of the request."""
        try:
            kind = await asyncio.to_thread(kind_of_files, self._store.blobs, adapters)
            if kind == "safetensors":
                await weights.convert_adapter(adapters)
                return
            if len(adapters) > 1:
                raise InvalidRequestError("only one adapter is currently supported")
            await weights.import_files(adapters)
        except InvalidRequestError:
            raise
        except CorralError as exc:
            raise InvalidRequestError(str(exc), hint=exc.hint) from exc

    async def _finish(self, name: ModelName, draft: ModelDraft, report: Report) -> set[Digest]:
        """Write config and manifest.

        Returns:
            Blobs that may be unused now: those of the old manifest, and intermediate ones, such as a conversion that
            was then quantised.
        """
        config = await in_thread(draft.workspace.put_bytes, draft.config.encode())
        for layer in draft.layers:
            await report({"status": draft.status_of(layer)})
        await report({"status": "writing manifest"})
        manifest = Manifest(Layer(CONFIG_MEDIA_TYPE, config.digest, config.size_bytes), tuple(draft.layers))
        old = await in_thread(self._write, name, manifest)
        for digest in draft.taken_over:
            self._store.blobs.kept.forget(digest)
        return ((old if self._may_prune else set()) | draft.workspace.added) - manifest.digests()

    def _write(self, name: ModelName, manifest: Manifest) -> set[Digest]:
        """Write the manifest; returns the digests of the previous one.

        Raises:
            StoreError: a layer was deleted by another program.
        """
        for digest in manifest.digests():
            blob_path(self._store.blobs, str(digest))
        old = digests_of(self._store.manifests, name)
        self._store.manifests.write(name, manifest.encode())
        return old
