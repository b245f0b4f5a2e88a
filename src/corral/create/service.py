"""The create pipeline: progress objects out, in the order and words of the original; one manifest at the end.

Nothing refers to a new layer before the manifest is written, and layers that a failed create made are removed,
so a create that fails leaves the store as it was. Ollama: server/create.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from corral.create.files import import_file, kind_of_files, layer_media_type, sorted_files
from corral.create.remote import normalize_remote
from corral.create.request import CreateRequest, parse_info, parse_licenses
from corral.digest import Digest
from corral.errors import (
    CorralError,
    CorruptManifestError,
    InvalidModelNameError,
    InvalidRequestError,
    ModelNotFoundError,
    TemplateError,
)
from corral.gguf import GGUFFile, format_parameter_count
from corral.gotemplate import Template
from corral.gowire import encode, encode_sorted
from corral.names import ModelName, parse_ref
from corral.prompt.detection import detect
from corral.store.config_blob import ModelConfig
from corral.store.manifests import CONFIG_MEDIA_TYPE, Layer, Manifest
from corral.store.models import Model, ModelStore
from corral.store.prune import delete_unreferenced

__all__ = ["Creator", "Report"]

# Takes one progress object of the answer.
Report = Callable[[dict[str, Any]], Awaitable[None]]
# Pulls a model that a FROM names and that is not here.
Puller = Callable[[str, Report], Awaitable[None]]

_QUANTIZATIONS = ("F32", "F16", "BF16", "Q4_K_S", "Q4_K_M", "Q4_K", "Q8_0")
_QUANTIZABLE = ("F16", "BF16", "F32")
_SHOWN_QUANTIZATIONS = "F32, F16, Q4_K_S, Q4_K_M, Q8_0"
# Architectures whose prompts a built-in renderer and parser make: architecture -> name, extra stop words.
_BUILT_IN: dict[str, tuple[str, tuple[str, ...]]] = {
    "gemma4": ("gemma4", ("<turn|>",)),
    "laguna": ("laguna", ()),
    "nemotron_h": ("nemotron-3-nano", ()),
    "nemotron_h_moe": ("nemotron-3-nano", ()),
    "nemotron_h_omni": ("nemotron-3-nano", ()),
}


@dataclass(slots=True)
class _Draft:
    """A model under construction: its layers in order, its config, and what was stored for it."""

    config: ModelConfig = field(default_factory=ModelConfig)
    layers: list[Layer] = field(default_factory=list)
    headers: dict[Digest, GGUFFile] = field(default_factory=dict)
    statuses: dict[Digest, str] = field(default_factory=dict)
    # What this create put into the store, and goes again if it fails; uploads are the client's and stay.
    stored: set[Digest] = field(default_factory=set)
    fresh: set[Digest] = field(default_factory=set)
    base: Model | None = None
    # Model files that the original would have rewritten; clients expect the line that follows.
    checked_count: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)

    def drop(self, kind: str) -> None:
        media_type = layer_media_type(kind)
        self.layers = [layer for layer in self.layers if layer.media_type != media_type]


class Creator:
    """Creates models in one store."""

    def __init__(self, store: ModelStore, *, may_prune: bool, puller: Puller | None = None) -> None:
        self._store = store
        self._may_prune = may_prune
        self._puller = puller

    def check(self, request: CreateRequest) -> None:
        """What is refused before anything starts.

        Raises:
            InvalidRequestError
        """
        request.check_files()
        ModelName.parse(request.model)

    async def create(self, request: CreateRequest, report: Report) -> None:
        """Create the model that a request describes.

        Raises:
            CorralError: any of its classes; no manifest was written then.
        """
        name = await asyncio.to_thread(self._store.manifests.resolve, ModelName.parse(request.model))
        draft = _Draft()
        try:
            await self._gather(draft, request, report)
            draft.config = _with_info(draft.config, parse_info(request.info))
            await self._quantize(draft, request)
            for _ in range(draft.checked_count):
                await report({"status": "verifying conversion"})
            await asyncio.to_thread(self._add_texts, draft, request)
            await self._finish(name, draft, report)
        except BaseException:
            await asyncio.to_thread(delete_unreferenced, self._store, draft.stored)
            raise
        await report({"status": "success"})

    async def _gather(self, draft: _Draft, request: CreateRequest, report: Report) -> None:
        """Base layers: of another model, of files, then drafts and adapters."""
        if request.from_:
            await self._take_base(draft, request, report)
        elif request.files is not None:
            await self._take_files(draft, request.files, report)
        else:
            raise InvalidRequestError("neither 'from' or 'files' was specified")
        if request.draft_files:
            if draft.config.remote_model:
                raise InvalidRequestError("DRAFT cannot be used with remote models")
            for file_name, digest in sorted_files(request.draft_files):
                await report({"status": "parsing GGUF"})
                imported = await asyncio.to_thread(import_file, self._store, file_name, digest, as_draft=True)
                draft.layers.append(imported.layer)
        if request.adapters is not None:
            await self._take_adapters(draft, request.adapters, report)

    async def _take_base(self, draft: _Draft, request: CreateRequest, report: Report) -> None:
        try:
            ref = parse_ref(request.from_)
            name = ModelName.parse(ref.base)
        except InvalidRequestError:
            raise InvalidModelNameError(request.from_) from None
        if ref.source == "cloud" or request.remote_host:
            host = normalize_remote(request.remote_host or "https://ollama.com:443")
            draft.config = replace(draft.config, remote_host=host, remote_model=ref.base)
            return
        try:
            base = await asyncio.to_thread(self._store.load, name)
        except ModelNotFoundError:
            if self._puller is None:
                raise CorralError("pull model manifest: file does not exist") from None
            await self._puller(request.from_, report)
            base = await asyncio.to_thread(self._store.find, name)
        short = base.name.short()
        draft.layers = [replace(layer, from_=short) for layer in base.layers]
        draft.base = base
        draft.parameters = dict(base.parameters)
        draft.config = base.config

    async def _take_files(self, draft: _Draft, files: Any, report: Report) -> None:
        kind = await asyncio.to_thread(kind_of_files, self._store, files)
        if kind == "safetensors":
            raise InvalidRequestError(
                "safetensors files cannot be converted by this version; convert them to GGUF first"
            )
        families: list[str] = []
        for file_name, digest in sorted_files(files):
            await report({"status": "parsing GGUF"})
            imported = await asyncio.to_thread(import_file, self._store, file_name, digest)
            draft.layers.append(imported.layer)
            draft.fresh.add(imported.layer.digest)
            draft.headers[imported.layer.digest] = imported.gguf
            if imported.layer.kind == "model":
                draft.checked_count += not imported.is_untouched
                families.append(imported.gguf.architecture)
                draft.config = _with_header(draft.config, imported.gguf, families)
                self._detect_template(draft, imported.gguf)

    def _detect_template(self, draft: _Draft, gguf: GGUFFile) -> None:
        """Add the Go template that is known for a file's own chat template."""
        source = gguf.metadata.get("tokenizer.chat_template")
        if not isinstance(source, str) or not source:
            return
        found = detect(source)
        if found is None:
            return
        layer = self._put(draft, "template", found.text.encode())
        draft.statuses[layer.digest] = f"using autodetected template {found.name}"
        draft.parameters["stop"] = list(found.stop)
        self._put(draft, "params", encode_sorted({"stop": list(found.stop)}) + b"\n")

    async def _take_adapters(self, draft: _Draft, adapters: Any, report: Report) -> None:
        if not adapters:
            raise InvalidRequestError("unknown type")
        try:
            kind = await asyncio.to_thread(kind_of_files, self._store, adapters)
        except CorralError as exc:
            raise InvalidRequestError(str(exc)) from exc
        if kind == "safetensors":
            raise InvalidRequestError(
                "safetensors adapters cannot be converted by this version; convert them to GGUF first"
            )
        if len(adapters) > 1:
            raise InvalidRequestError("only one adapter is currently supported")
        for file_name, digest in adapters.items():
            await report({"status": "parsing GGUF"})
            try:
                imported = await asyncio.to_thread(import_file, self._store, file_name, digest)
            except CorralError as exc:
                # Whatever is wrong with an adapter is the request's fault.
                raise InvalidRequestError(str(exc)) from exc
            draft.layers.append(imported.layer)
            draft.fresh.add(imported.layer.digest)

    async def _quantize(self, draft: _Draft, request: CreateRequest) -> None:
        wanted = request.quantize.upper()
        if not wanted:
            return
        has_weights = any(layer.kind == "model" for layer in draft.layers)
        if not has_weights:
            return
        if wanted not in _QUANTIZATIONS:
            raise CorralError(
                f"unsupported quantization type {wanted} - supported types are {_SHOWN_QUANTIZATIONS}"
            )
        wanted = "Q4_K_M" if wanted == "Q4_K" else wanted
        if draft.config.file_type == wanted:
            return
        if draft.config.file_type not in _QUANTIZABLE:
            raise CorralError("quantization is only supported for F16, BF16 and F32 models")
        raise CorralError(
            f"quantizing to {wanted} is not supported by this version; "
            "quantize with `llama-quantize` and create from the result"
        )

    def _add_texts(self, draft: _Draft, request: CreateRequest) -> None:
        """Template, system, licences, parameters and messages of the request, over those inherited."""
        self._apply_built_in(draft, request)
        if request.template:
            try:
                Template.parse(request.template)
            except TemplateError as exc:
                raise InvalidRequestError(f"template error: {exc}") from exc
            self._replace(draft, "template", request.template.encode())
        if request.system:
            self._replace(draft, "system", request.system.encode())
        for text in parse_licenses(request.license):
            self._put(draft, "license", text.encode())
        if request.parameters:
            draft.parameters |= dict(request.parameters)
        if draft.parameters or request.parameters:
            self._replace(draft, "params", encode_sorted(draft.parameters) + b"\n")
        if request.raw_messages:
            self._replace(draft, "messages", encode(list(request.raw_messages)) + b"\n")
        overrides: dict[str, Any] = {
            name: value
            for name, value in (
                ("renderer", request.renderer),
                ("parser", request.parser),
                ("requires", request.requires),
            )
            if value
        }
        draft.config = replace(draft.config, **overrides)

    def _apply_built_in(self, draft: _Draft, request: CreateRequest) -> None:
        for gguf in draft.headers.values():
            if gguf.architecture not in _BUILT_IN:
                continue
            name, stop = _BUILT_IN[gguf.architecture]
            draft.config = replace(
                draft.config, renderer=draft.config.renderer or name, parser=draft.config.parser or name
            )
            if stop and "stop" not in (request.parameters or {}):
                draft.parameters["stop"] = list(stop)

    def _replace(self, draft: _Draft, kind: str, data: bytes) -> None:
        draft.drop(kind)
        self._put(draft, kind, data)

    def _put(self, draft: _Draft, kind: str, data: bytes) -> Layer:
        result = self._store.blobs.put_bytes(data)
        layer = Layer(layer_media_type(kind), result.digest, result.size_bytes)
        draft.stored.add(result.digest)
        draft.layers.append(layer)
        return layer

    async def _finish(self, name: ModelName, draft: _Draft, report: Report) -> None:
        """Config and manifest; then the blobs that only the old manifest had."""
        config = await asyncio.to_thread(self._store.blobs.put_bytes, draft.config.encode())
        draft.stored.add(config.digest)
        for layer in draft.layers:
            status = draft.statuses.get(layer.digest) or _layer_status(layer, draft)
            await report({"status": status})
        await report({"status": "writing manifest"})
        manifest = Manifest(Layer(CONFIG_MEDIA_TYPE, config.digest, config.size_bytes), tuple(draft.layers))
        await asyncio.to_thread(self._write, name, manifest)

    def _write(self, name: ModelName, manifest: Manifest) -> None:
        try:
            old = self._store.manifests.read(name).manifest.digests()
        except (FileNotFoundError, CorruptManifestError):
            old = set()
        self._store.manifests.write(name, manifest.encode())
        if self._may_prune:
            delete_unreferenced(self._store, old - manifest.digests())


def _layer_status(layer: Layer, draft: _Draft) -> str:
    is_old = layer.digest not in draft.stored | draft.fresh
    return f"{'using existing' if is_old else 'creating new'} layer {layer.digest}"


def _with_header(config: ModelConfig, gguf: GGUFFile, families: Sequence[str]) -> ModelConfig:
    return replace(
        config,
        model_format="gguf",
        family=gguf.architecture,
        families=tuple(families),
        parameter_size=format_parameter_count(gguf.parameter_count),
        file_type=gguf.file_type_name,
    )


def _with_info(config: ModelConfig, info: dict[str, Any]) -> ModelConfig:
    names = {
        "model_family": "family",
        "base_name": "base_name",
        "quantization_level": "file_type",
        "parameter_size": "parameter_size",
        "context_length": "context_length",
        "embedding_length": "embedding_length",
    }
    changes = {names[name]: value for name, value in info.items() if name in names}
    added = tuple(c for c in info.get("capabilities", ()) if c not in config.capabilities)
    if family := info.get("model_family"):
        changes["families"] = (family, *(config.families or ()))
    return replace(config, **changes, capabilities=config.capabilities + added)
