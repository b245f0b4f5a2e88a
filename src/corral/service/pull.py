"""Pull and push. This version installs the built-in model; registries follow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from corral.create.request import CreateRequest
from corral.create.service import Creator
from corral.errors import CorralError, InvalidModelNameError
from corral.names import DEFAULT_HOST, DEFAULT_NAMESPACE, ModelName, parse_ref
from corral.store.models import ModelStore

__all__ = ["BUILT_IN_MODEL", "Puller"]

BUILT_IN_MODEL = "corral-tiny"
_CHUNK_BYTES = 1 << 20

Report = Callable[[dict[str, Any]], Awaitable[None]]


class Puller:
    """Brings models into the store."""

    def __init__(self, store: ModelStore, creator: Creator) -> None:
        self._store = store
        self._creator = creator

    def parse(self, text: str) -> ModelName:
        """Raises InvalidRequestError, InvalidModelNameError."""
        return ModelName.parse(parse_ref(text).base)

    async def pull(self, name: ModelName, report: Report) -> None:
        """Install a model, telling the same steps as a pull from a registry.

        Raises:
            CorralError: it is not the built-in one.
        """
        await report({"status": "pulling manifest"})
        is_ours = (name.host.lower(), name.namespace.lower()) == (DEFAULT_HOST, DEFAULT_NAMESPACE)
        if not is_ours or name.model.lower() != BUILT_IN_MODEL:
            raise CorralError(
                f"pull model manifest: {name.short()} is not built in, and this version does not pull from "
                "registries yet"
            )
        with as_file(files("corral") / "assets" / f"{BUILT_IN_MODEL}.gguf") as path:
            result = await asyncio.to_thread(self._import, path)
        title = f"pulling {result['digest'].removeprefix('sha256:')[:12]}"
        await report({"status": title, **result})
        await report({"status": "verifying sha256 digest"})

        async def quiet(_event: dict[str, Any]) -> None:
            """The steps of a create are not those of a pull."""

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

    async def push(self, text: str, report: Report) -> None:
        """Raises CorralError: there is no registry client in this version."""
        try:
            name = self._store.manifests.resolve(ModelName.parse(text))
        except InvalidModelNameError:
            raise CorralError(f"unqualified name: {DEFAULT_HOST}/{DEFAULT_NAMESPACE}/{text}:latest") from None
        await report({"status": "retrieving manifest"})
        path = self._store.manifests.path(name)
        if not path.is_file():
            await report({"status": "couldn't retrieve manifest"})
            raise CorralError(f"open {path}: no such file or directory")
        raise CorralError("this version does not push to registries yet")
