"""Pull and push: downloads models into the store and uploads them, with Ollama's progress messages.

The registry client is imported on first use, so a server that never pulls needs less memory.
"""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral import caller
from corral.config import Settings
from corral.errors import CorralError, InvalidModelNameError
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.names import (
    DEFAULT_HOST,
    DEFAULT_NAMESPACE,
    ModelName,
    completed_text,
    parse_ref,
    pull_text,
)
from corral.registry.counts import TransferCounts
from corral.registry.request import TransferRequest
from corral.store.models import ModelStore
from corral.types import Report

if TYPE_CHECKING:
    from corral.registry.client_pool import Gateway
    from corral.registry.peers import PeerModels

BUILT_IN_MODEL = "corral-tiny"
_CHUNK_BYTES = 1 << 20


class Puller:
    """Downloads models into the store, and uploads them to registries."""

    def __init__(self, settings: Settings, store: ModelStore, creator: Creator) -> None:
        self._settings = settings
        self._store = store
        self._creator = creator
        self._peers: PeerModels | None = None
        self._gateway: Gateway | None = None
        self.counts = TransferCounts()

    def parse(self, text: str) -> ModelName:
        """Raises InvalidRequestError, InvalidModelNameError."""
        return ModelName.parse(pull_text(parse_ref(text)))

    def use_peers(self, peers: PeerModels) -> None:
        """Ask the other servers of a cluster before any registry. Before the first pull."""
        self._peers = peers

    async def pull(self, name: ModelName, report: Report, request: TransferRequest | None = None) -> None:
        """Pull a model into the store. Cancelling only ends the download if no other caller waits for it.

        Raises:
            CorralError: the store is unchanged; partial downloads are kept for the next attempt.
        """
        caller.require_model(name)
        with self.counts.watched("pull"):
            await self._pull(name, report, request or TransferRequest())

    async def _pull(self, name: ModelName, report: Report, request: TransferRequest) -> None:
        await report({"status": "pulling manifest"})
        is_ours = (name.host.lower(), name.namespace.lower()) == (DEFAULT_HOST, DEFAULT_NAMESPACE)
        if is_ours and name.model.lower() == BUILT_IN_MODEL:
            await self._install(name, report)
            return
        if self._settings.is_offline and self._peers is None:
            raise CorralError(
                f"pull model manifest: {name.short()} is not available locally and this server is offline "
                "(CORRAL_OFFLINE)"
            )
        gateway = await self.open_gateway()
        name = await asyncio.to_thread(self._store.manifests.resolve, name)

        async def assemble(files: dict[str, str]) -> None:
            await self._creator.create(CreateRequest(model=name.full(), files=files), all_but_success(report))

        await gateway.pull(name, report, request, assemble)

    async def pull_base(self, text: str, report: Report) -> None:
        """Pull the base model of a create, without reporting success."""
        await self.pull(self.parse(text), all_but_success(report))

    async def open_gateway(self) -> Gateway:
        if self._gateway is None:
            make = await asyncio.to_thread(_load_gateway)
            if self._gateway is None:  # another request may have been faster
                self._gateway = make(self._settings, self._store, self.counts, self._peers)
        return self._gateway

    async def close(self) -> None:
        """Cancel all transfers; a later request resumes the downloads."""
        if self._gateway is not None:
            await self._gateway.close()

    async def _install(self, name: ModelName, report: Report) -> None:
        """Install the built-in model, with the progress messages of a pull."""
        with as_file(files("corral") / "assets" / f"{BUILT_IN_MODEL}.gguf") as path:
            result = await asyncio.to_thread(self._import, path)
        title = f"pulling {result['digest'].removeprefix('sha256:')[:12]}"
        await report({"status": title, **result})
        await report({"status": "verifying sha256 digest"})

        async def quiet(_event: dict[str, Any]) -> None:
            """Drops the progress messages of the create."""

        request = CreateRequest(
            model=name.full(),
            files={f"{BUILT_IN_MODEL}.gguf": result["digest"]},
            parameters={"num_ctx": 2048},
            license="MIT",
        )
        await self._creator.create(request, quiet)
        await report({"status": "writing manifest"})
        await report({"status": "success"})

    def _import(self, path: Path) -> dict[str, Any]:
        writer = self._store.blobs.writer()
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    writer.write(chunk)
        except BaseException:
            writer.discard()
            raise
        result = writer.commit()
        return {"digest": str(result.digest), "total": result.size_bytes, "completed": result.size_bytes}

    async def push(self, text: str, report: Report, request: TransferRequest | None = None) -> None:
        """Push a model to its registry.

        Raises:
            CorralError
        """
        with self.counts.watched("push"):
            await self._push(text, report, request or TransferRequest())

    async def _push(self, text: str, report: Report, request: TransferRequest) -> None:
        try:
            parsed = ModelName.parse(text)
            caller.require_model(parsed)
            await report({"status": "retrieving manifest"})
            name = await asyncio.to_thread(self._store.manifests.resolve, parsed)
        except InvalidModelNameError:
            await report({"status": "retrieving manifest"})
            await report({"status": "couldn't retrieve manifest"})
            raise CorralError(f"unqualified name: {completed_text(text)}") from None
        if not await asyncio.to_thread(self._store.manifests.entries, name):
            await report({"status": "couldn't retrieve manifest"})
            raise CorralError(f"open {self._store.manifests.path(name)}: no such file or directory")
        if self._settings.is_offline:
            raise CorralError("this server is offline (CORRAL_OFFLINE)")
        gateway = await self.open_gateway()
        await gateway.push(name, report, request)


def all_but_success(report: Report) -> Report:
    """Forwards all progress messages except the final success."""

    async def pass_on(event: dict[str, Any]) -> None:
        if event != {"status": "success"}:
            await report(event)

    return pass_on


def _load_gateway() -> type[Gateway]:
    from corral.registry.client_pool import Gateway

    return Gateway
