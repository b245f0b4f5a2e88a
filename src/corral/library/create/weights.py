"""The weights of a model under construction: imported, merged, converted, quantised, with progress of each step.

Ollama: server/create.go, convertFromSafetensors, ggufLayers, quantizeLayer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from corral.digest import Digest
from corral.errors import ConversionError, CorralError, InvalidRequestError, QuantizeError
from corral.library.create.draft import ModelDraft
from corral.library.create.files import (
    GGUFGroup,
    blob_path,
    check_content,
    check_model,
    group_files,
    open_gguf,
    sorted_files,
)
from corral.library.create.jobs import JobResult, Jobs
from corral.library.create.request import CreateRequest
from corral.store.models import ModelStore
from corral.store.prune import keep_for_a_while
from corral.threads import in_thread
from corral.weights.gguf import GGUFFile
from corral.weights.quantize import parse_file_type

# The digest in progress objects of work without a digest, as in Ollama.
_NO_DIGEST = "0" * 19
_FLOAT_TYPES = frozenset({"F32", "F16", "BF16"})
_OLD_FLOAT_NAMES = ("F16", "BF16", "F32")


class Weights:
    """Adds weights to one draft. `checked_count`: model files that Ollama would have rewritten."""

    def __init__(
        self,
        store: ModelStore,
        jobs: Jobs,
        draft: ModelDraft,
        report: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._blobs = store.blobs
        self._jobs = jobs
        self._draft = draft
        self._report = report
        self.checked_count = 0

    async def import_files(self, files: Mapping[str, str], *, as_draft: bool = False) -> None:
        """Import GGUF files in the order of their names.

        Raises:
            CorralError
        """
        opened = []
        for name, digest in sorted_files(files):
            await self._report({"status": "parsing GGUF"})
            path = await in_thread(self._hold, digest)
            opened.append((name, digest, path, await asyncio.to_thread(open_gguf, path, name)))
        for group in await asyncio.to_thread(group_files, opened, as_draft=as_draft):
            await self._add_group(group)

    async def _add_group(self, group: GGUFGroup) -> None:
        digest, gguf, path = group.digests[0], group.gguf, group.paths[0]
        if group.is_split:
            order = {"work": "merge", "files": dict(zip(group.names, map(str, group.paths), strict=True))}
            digest = await self._make(order, "validating GGUF model")
            path = self._blobs.path(digest)
            gguf = await asyncio.to_thread(open_gguf, path)
            if group.kind == "model":
                await asyncio.to_thread(check_model, gguf, group.names[0])
        elif group.needs_projector_type:
            order = {"work": "set_projector_type", "source": str(path)}
            await self._report({"status": "updating GGUF projector metadata"})
            digest = await self._make(order, "updating GGUF projector metadata")
            path = self._blobs.path(digest)
        self.checked_count += group.kind == "model" and not group.is_untouched
        await in_thread(self._draft.add_file, group, digest, path, gguf)

    async def convert(self, files: Mapping[str, str], *, quantize: str) -> None:
        """Convert a safetensors model; `quantize` is the type that it is quantised to next, if any.

        Raises:
            CorralError: the conversion failed, or the type does not exist.
        """
        keep_float32 = bool(quantize) and bool(parse_file_type(quantize))
        await self._report({"status": "converting model"})
        order = {"work": "convert", "files": await self._paths(files), "keep_float32": keep_float32}
        try:
            digest = await self._make(order, "converting model")
        except ConversionError as exc:
            raise CorralError(str(exc), hint=exc.hint) from exc
        path = self._blobs.path(digest)
        gguf = await asyncio.to_thread(open_gguf, path)
        await asyncio.to_thread(check_model, gguf, "converted model")
        self.checked_count += 1
        await in_thread(self._draft.add_weights, "model", digest, path, gguf)

    async def convert_adapter(self, files: Mapping[str, str]) -> None:
        """Convert a LoRA adapter for the weights that the draft has.

        Raises:
            InvalidRequestError: the draft has no weights.
            CorralError
        """
        await self._report({"status": "converting adapter"})
        bases = self._draft.weights(("model",))
        if not bases:
            raise InvalidRequestError("no base model was found")
        base = await asyncio.to_thread(blob_path, self._blobs, str(self._draft.layers[bases[-1]].digest))
        order = {"work": "convert_adapter", "files": await self._paths(files), "base": str(base)}
        digest = await self._make(order, "converting adapter")
        path = self._blobs.path(digest)
        gguf = await asyncio.to_thread(open_gguf, path)
        await in_thread(self._draft.add_weights, "adapter", digest, path, gguf)

    async def quantize(self, request: CreateRequest) -> None:
        """Quantise the weights, and those of draft models, to the requested types.

        Raises:
            CorralError: an unknown type, or weights that are already quantised.
            InvalidRequestError: an importance matrix without a type.
        """
        if request.imatrix and not request.quantize:
            raise InvalidRequestError("imatrix needs a type to quantize to: set quantize")
        imatrix = await in_thread(self._hold, request.imatrix) if request.imatrix else None
        for kind, wanted in (("model", request.quantize), ("draft", request.draft_quantize)):
            for index in self._draft.weights((kind,)):
                wanted_type = wanted or await self._automatic_type(index)
                if wanted_type:
                    await self._quantize_layer(index, wanted_type, imatrix)

    async def _automatic_type(self, index: int) -> str:
        """Weights that had 8 bits before the conversion are quantised to 8 bits again."""
        layer = self._draft.layers[index]
        header = next((h for h in self._draft.headers if h.path == self._blobs.path(layer.digest)), None)
        if header is None or header.get_arch("source_quantization") != "hf_fp8":
            return ""
        return "Q8_0" if header.get_arch("source_fp8_tensors") else ""

    async def _quantize_layer(self, index: int, wanted: str, imatrix: Path | None) -> None:
        layer = self._draft.layers[index]
        source = await asyncio.to_thread(blob_path, self._blobs, str(layer.digest))
        gguf = await asyncio.to_thread(open_gguf, source)
        old = _type_name(gguf)
        if wanted.strip().upper() == old:
            return
        wanted = parse_file_type(wanted)
        if wanted == old:
            return
        if old not in _OLD_FLOAT_NAMES:
            if layer.kind == "draft":
                raise QuantizeError(f"draft quantization requires an unquantized draft model, got {old}")
            raise QuantizeError("quantization is only supported for F16, BF16 and F32 models")
        status = f"quantizing {old} model to {wanted}"
        order = {
            "work": "quantize",
            "source": str(source),
            "file_type": wanted,
            "imatrix": str(imatrix) if imatrix else "",
        }
        digest = await self._make(order, status)
        path = self._blobs.path(digest)
        self._draft.replace_weights(index, digest, path, wanted)
        if gguf.path not in {header.path for header in self._draft.headers}:
            self.checked_count += 1

    async def _make(self, order: dict[str, Any], status: str) -> Digest:
        """Have a worker make a file, and add it as a blob."""
        destination = self._draft.workspace.path("made.gguf")

        async def on_progress(done_bytes: int, total_bytes: int) -> None:
            await self._report(
                {"status": status, "digest": _NO_DIGEST, "total": total_bytes, "completed": done_bytes}
            )

        result: JobResult = await self._jobs.run({**order, "destination": str(destination)}, on_progress)
        await in_thread(self._draft.workspace.adopt, destination, result.digest)
        return result.digest

    async def _paths(self, files: Mapping[str, str]) -> dict[str, str]:
        paths = {}
        for name, digest in sorted_files(files):
            path = await in_thread(self._hold, digest)
            await asyncio.to_thread(check_content, path, name)
            paths[name] = str(path)
        return paths

    def _hold(self, digest: str) -> Path:
        """The file of an uploaded blob, which is kept during this create and for a while afterwards.

        Raises:
            StoreError
        """
        blob_path(self._blobs, digest)
        self._draft.workspace.hold(Digest.parse(digest))
        keep_for_a_while(self._store, Digest.parse(digest))
        return blob_path(self._blobs, digest)


def _type_name(gguf: GGUFFile) -> str:
    """The type of a file's weights; by its matrices if the metadata does not say."""
    name = gguf.file_type_name
    if name != "unknown":
        return name
    kinds = {tensor.type_name for tensor in gguf.tensors if len(tensor.shape) > 1} or {"F32"}
    if kinds <= _FLOAT_TYPES:
        return "F32" if len(kinds) > 1 else kinds.pop()
    return kinds.pop() if len(kinds) == 1 else name
