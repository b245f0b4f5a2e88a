"""From a manifest to a model: its config and texts read, its files located. The entry point of the store.

A model is cached as long as its manifest stays the same, so that a request for a known model costs a few `stat`s.
What is read of one model is bounded, and nothing in it can prevent the others from being listed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral.bounded import BoundedCache
from corral.digest import Digest
from corral.errors import CorruptManifestError, ModelNotFoundError
from corral.names import ModelName
from corral.store.blobs import BlobStore, DerivedFiles
from corral.store.catalog import ManifestStore, StoredManifest
from corral.store.config_blob import ModelConfig
from corral.store.lists import NEEDS_MLX
from corral.store.manifests import Layer, Manifest
from corral.store.texts import TextReader
from corral.store.workspace import Workspace
from corral.types import Message, ToolCall

_MAX_CACHED = 20_000
_MAX_CACHED_BYTES = 64 << 20
_MODEL_BYTES = 2000
_LAYER_BYTES = 500


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that the store knows of a model. Paths are of blobs, which may have vanished.

    `template` None: there is no template layer. `parent` is where the weights came from, if recorded. `problem`:
    why this machine cannot run it, empty if nothing is known against it. `is_damaged`: it cannot be read, and only
    what its manifest says is known.
    """

    name: ModelName
    digest_hex: str
    size_bytes: int
    modified_ns: int
    config: ModelConfig
    layers: tuple[Layer, ...]
    weights_path: Path | None = None
    weights_digest: Digest | None = None
    projector_paths: tuple[Path, ...] = ()
    projector_digest: Digest | None = None
    adapter_paths: tuple[Path, ...] = ()
    draft_path: Path | None = None
    template: str | None = None
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    parent: str = ""
    problem: str = ""
    is_damaged: bool = False


class ModelStore:
    """A models folder."""

    def __init__(self, folder: Path, derived: Sequence[DerivedFiles] = ()) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs", derived)
        self.manifests = ManifestStore(folder / "manifests")
        self._models: BoundedCache[ModelName, tuple[StoredManifest, Model]] = BoundedCache(
            max_entries=_MAX_CACHED, max_bytes=_MAX_CACHED_BYTES
        )

    @contextlib.contextmanager
    def pinned(self, digests: set[Digest]) -> Iterator[None]:
        """Keep blobs from being deleted by any process, although no manifest refers to them yet."""
        workspace = Workspace(self.blobs)
        try:
            for digest in digests:
                workspace.hold(digest)
            yield
        finally:
            workspace.close()

    def load(self, name: ModelName) -> Model:
        """The model of a name in exactly this case.

        Raises:
            ModelNotFoundError: no manifest, or a config or text blob of it is missing.
            CorruptManifestError
        """
        try:
            stored = self.manifests.read(name)
        except FileNotFoundError:
            raise ModelNotFoundError(name.short()) from None
        return self._cached(stored) or self._read(stored)

    def peek(self, name: ModelName) -> Model | None:
        """The model of a name in exactly this case, if it was read before and has not changed: a few `stat`s."""
        stored = self.manifests.peek(name)
        return self._cached(stored) if stored is not None else None

    def _cached(self, stored: StoredManifest) -> Model | None:
        cached = self._models.get(stored.name)
        return cached[1] if cached is not None and cached[0] is stored else None

    def find(self, name: ModelName) -> Model:
        """The model of a name in any letter case. Raises as `load`."""
        try:
            return self.load(name)
        except ModelNotFoundError:
            found = self.manifests.find(name)
            if found is None or found == name:
                raise
            return self.load(found)

    def list(self) -> list[Model]:
        """All models whose manifest can be read, the most recently changed first (by whole seconds)."""
        models = []
        for stored in self.manifests.stored():
            try:
                models.append(self._cached(stored) or self._read(stored))
            except (ModelNotFoundError, CorruptManifestError, OSError) as exc:
                models.append(_damaged(stored, str(exc.__cause__ or exc)))
        return sorted(models, key=_age)

    def _read(self, stored: StoredManifest) -> Model:
        manifest = stored.manifest
        by_kind: dict[str, list[Layer]] = {}
        for layer in manifest.layers:
            by_kind.setdefault("template" if layer.kind == "prompt" else layer.kind, []).append(layer)

        texts = TextReader(self.blobs, by_kind)

        def paths(kind: str) -> tuple[Path, ...]:
            return tuple(self.blobs.path(layer.digest) for layer in by_kind.get(kind, ()))

        try:
            config = ModelConfig.parse(texts.config(manifest.config))
            template, system, licenses = texts.last("template"), texts.last("system"), texts.licenses()
            parameters, messages = texts.json("params", dict), texts.json("messages", list)
        except FileNotFoundError as exc:
            raise ModelNotFoundError(stored.name.short()) from exc
        weights = by_kind.get("model", [None])[-1]
        drafts = paths("draft")
        projectors = by_kind.get("projector", [])
        model = Model(
            name=stored.name,
            digest_hex=stored.digest_hex,
            size_bytes=manifest.size_bytes,
            modified_ns=stored.modified_ns,
            config=config,
            layers=manifest.layers,
            weights_path=self.blobs.path(weights.digest) if weights else None,
            weights_digest=weights.digest if weights else None,
            projector_paths=paths("projector"),
            projector_digest=projectors[0].digest if projectors else None,
            adapter_paths=paths("adapter"),
            draft_path=drafts[-1] if drafts else None,
            template=template,
            system=system or "",
            parameters=parameters or {},
            messages=tuple(_message(value) for value in messages or () if isinstance(value, dict)),
            licenses=licenses,
            parent=weights.from_ if weights else "",
            problem=_problem(config, manifest, has_weights=weights is not None),
        )
        size_bytes = texts.size_bytes + _MODEL_BYTES + _LAYER_BYTES * len(manifest.layers)
        self._models.put(stored.name, (stored, model), size_bytes)
        return model


def _problem(config: ModelConfig, manifest: Manifest, *, has_weights: bool) -> str:
    """Why an undamaged model cannot be run."""
    is_mlx = manifest.runner == "mlx" or "safetensors" in (manifest.format, config.model_format)
    if is_mlx or any(layer.kind == "tensor" for layer in manifest.layers):
        return NEEDS_MLX
    form = manifest.format or config.model_format
    if form not in ("", "gguf") and not config.remote_model:
        return f"this model has the format {form[:40]!r}, which cannot be run here"
    return "" if has_weights or config.remote_model else "this model has no weights"


def _damaged(stored: StoredManifest, reason: str) -> Model:
    """A model whose config or texts cannot be read, as far as its manifest describes it."""
    return Model(
        name=stored.name,
        digest_hex=stored.digest_hex,
        size_bytes=stored.manifest.size_bytes,
        modified_ns=stored.modified_ns,
        config=ModelConfig(),
        layers=stored.manifest.layers,
        problem=f"this model is damaged: {reason}",
        is_damaged=True,
    )


def _age(model: Model) -> int:
    return -(model.modified_ns // 1_000_000_000)


def _message(value: dict[str, Any]) -> Message:
    """A message as stored; members of wrong types count as absent."""

    def text(name: str) -> str:
        found = value.get(name)
        return found if isinstance(found, str) else ""

    calls = value.get("tool_calls")
    functions = (
        [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    )
    return Message(
        role=text("role"),
        content=text("content"),
        thinking=text("thinking"),
        tool_calls=tuple(_call(function) for function in functions if isinstance(function, dict)),
        tool_name=text("tool_name"),
        tool_call_id=text("tool_call_id"),
    )


def _call(function: dict[str, Any]) -> ToolCall:
    arguments = function.get("arguments")
    return ToolCall(str(function.get("name", "")), arguments if isinstance(arguments, dict) else {})
