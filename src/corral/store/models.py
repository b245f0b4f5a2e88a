"""From a manifest to a model: its config and texts read, its files located. The store's front door.

A model is cached by its manifest's digest, so that a request for a known model costs one `stat`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral.digest import Digest
from corral.errors import CorruptManifestError, ModelNotFoundError
from corral.names import ModelName
from corral.store.blobs import BlobStore
from corral.store.config_blob import ModelConfig
from corral.store.manifests import Layer, ManifestStore, StoredManifest
from corral.store.workspace import Workspace
from corral.types import Message, ToolCall

__all__ = ["Model", "ModelStore"]

_MAX_CACHED = 2048


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that the store knows of a model. Paths are of blobs, which may have vanished.

    `template` None: there is no template layer. `parent` is where the weights came from, if recorded.
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


class ModelStore:
    """A models folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self.manifests = ManifestStore(folder / "manifests")
        self._models: dict[tuple[str, ModelName], Model] = {}

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
        key = (stored.digest_hex, name)
        cached = self._models.get(key)
        if cached is not None and cached.modified_ns == stored.modified_ns:
            return cached
        model = self._read(stored)
        if len(self._models) >= _MAX_CACHED:
            self._models.clear()
        self._models[key] = model
        return model

    def find(self, name: ModelName) -> Model:
        """The model of a name in any letter case. Raises as `load`."""
        try:
            return self.load(name)
        except ModelNotFoundError:
            resolved = self.manifests.resolve(name)
            if resolved.path_parts() == name.path_parts():
                raise
            return self.load(resolved)

    def list(self) -> list[Model]:
        """All sound models, those changed last first (by whole seconds)."""
        models = []
        for stored in self.manifests.stored():
            try:
                models.append(self.load(stored.name))
            except (ModelNotFoundError, CorruptManifestError):
                continue
        return sorted(models, key=_age)

    def _read(self, stored: StoredManifest) -> Model:
        manifest = stored.manifest
        by_kind: dict[str, list[Layer]] = {}
        for layer in manifest.layers:
            by_kind.setdefault("template" if layer.kind == "prompt" else layer.kind, []).append(layer)

        def paths(kind: str) -> tuple[Path, ...]:
            return tuple(self.blobs.path(layer.digest) for layer in by_kind.get(kind, ()))

        try:
            config = ModelConfig.parse(self.blobs.read(manifest.config.digest))
            texts = {kind: self._text(by_kind.get(kind)) for kind in ("template", "system")}
            licenses = tuple(self._text([layer]) or "" for layer in by_kind.get("license", ()))
            parameters = self._json(by_kind.get("params"), dict)
            messages = self._json(by_kind.get("messages"), list)
        except FileNotFoundError as exc:
            raise ModelNotFoundError(stored.name.short()) from exc
        weights = by_kind.get("model", [None])[-1]
        drafts = paths("draft")
        projectors = by_kind.get("projector", [])
        return Model(
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
            template=texts["template"],
            system=texts["system"] or "",
            parameters=parameters or {},
            messages=tuple(_message(value) for value in messages or () if isinstance(value, dict)),
            licenses=licenses,
            parent=weights.from_ if weights else "",
        )

    def _text(self, layers: Any) -> str | None:
        """The text of the last layer of a kind; None if there is none."""
        return self.blobs.read(layers[-1].digest).decode("utf-8", "replace") if layers else None

    def _json(self, layers: Any, kind: type) -> Any:
        text = self._text(layers)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise CorruptManifestError(f"a layer is no JSON: {exc}") from None
        return value if isinstance(value, kind) else None


def _age(model: Model) -> int:
    return -(model.modified_ns // 1_000_000_000)


def _message(value: dict[str, Any]) -> Message:
    calls = []
    for call in value.get("tool_calls") or ():
        function = call.get("function", {}) if isinstance(call, dict) else {}
        calls.append(ToolCall(str(function.get("name", "")), function.get("arguments") or {}))
    return Message(
        role=str(value.get("role", "")),
        content=str(value.get("content", "")),
        thinking=str(value.get("thinking", "")),
        tool_calls=tuple(calls),
        tool_name=str(value.get("tool_name", "")),
        tool_call_id=str(value.get("tool_call_id", "")),
    )
