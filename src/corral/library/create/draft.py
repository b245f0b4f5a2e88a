"""A model under construction: ordered layers, a config, and the rules for which texts replace or add to others.

Ollama: server/create.go, setTemplate, setSystem, setLicense, setParameters, setMessages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corral.chat.families.known import create_default
from corral.chat.gotemplate import Template
from corral.chat.templates.detection import detect
from corral.chat.templates.plain import is_plain
from corral.digest import Digest
from corral.errors import GGUFError, InvalidRequestError, TemplateError
from corral.golang.json import encode, encode_sorted
from corral.library.create.files import GGUFGroup, layer_media_type
from corral.library.create.request import CreateRequest, parse_licenses
from corral.store.config_blob import ModelConfig
from corral.store.manifests import Layer
from corral.store.models import Model
from corral.store.texts import check_text_size
from corral.store.workspace import Workspace
from corral.weights.gguf import GGUFFile, format_parameter_count


@dataclass(slots=True)
class ModelDraft:
    """Everything that the manifest will contain."""

    workspace: Workspace
    config: ModelConfig = field(default_factory=ModelConfig)
    layers: list[Layer] = field(default_factory=list)
    # Headers of weights from files; some settings follow from their architecture.
    headers: list[GGUFFile] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    statuses: dict[Digest, str] = field(default_factory=dict)
    # Layers that this create made, or is the first to use.
    fresh: set[Digest] = field(default_factory=set)
    # Uploads stored unchanged, as in Ollama: they are deleted with the last model that has them.
    taken_over: set[Digest] = field(default_factory=set)
    parameters: dict[str, Any] = field(default_factory=dict)
    base_weights: Path | None = None

    def take_base(self, base: Model) -> None:
        """Start from another model: inherit all its layers, and record where they come from."""
        short = base.name.short()
        self.layers = [replace(layer, from_=short) for layer in base.layers]
        self.parameters = dict(base.parameters)
        self.config = base.config
        self.base_weights = base.weights_path

    def add_file(self, group: GGUFGroup, digest: Digest, path: Path, gguf: GGUFFile) -> None:
        """Add the layer of a file, unchanged or converted."""
        is_as_it_came = digest == group.digests[0]
        source = group.names[0] if is_as_it_came and group.is_untouched else ""
        if source:
            self.taken_over.add(digest)
        self.add_weights(group.kind, digest, path, gguf, source=source)

    def add_weights(self, kind: str, digest: Digest, path: Path, gguf: GGUFFile, *, source: str = "") -> None:
        self.layers.append(Layer(layer_media_type(kind), digest, path.stat().st_size, source))
        self.fresh.add(digest)
        if kind == "model":
            self.headers.append(gguf)
            self.families.append(gguf.architecture)
            self.config = replace(
                self.config,
                model_format="gguf",
                family=gguf.architecture,
                families=tuple(self.families),
                parameter_size=format_parameter_count(gguf.parameter_count),
                file_type=gguf.file_type_name,
            )
            self._detect_template(gguf)

    def replace_weights(self, index: int, digest: Digest, path: Path, file_type: str) -> None:
        """Replace a layer by its quantised weights."""
        kind = self.layers[index].media_type
        self.layers[index] = Layer(kind, digest, path.stat().st_size)
        self.fresh.add(digest)
        if self.layers[index].kind == "model":
            self.config = replace(self.config, file_type=file_type)

    def _detect_template(self, gguf: GGUFFile) -> None:
        """Add the known Go template for a file's own chat template."""
        source = gguf.metadata.get("tokenizer.chat_template")
        found = detect(source) if isinstance(source, str) and source else None
        if found is None:
            return
        layer = self._put("template", found.text.encode())
        self.statuses[layer.digest] = f"using autodetected template {found.name}"
        self.parameters["stop"] = list(found.stop)
        self._put("params", encode_sorted({"stop": list(found.stop)}) + b"\n")

    def apply_texts(self, request: CreateRequest) -> None:
        """Apply template, system, licences, parameters and messages of the request over inherited ones.

        Raises:
            InvalidRequestError: the template does not parse, or a text is too long.
            CorralError: a licence that is not a text.
        """
        self._apply_built_in(request)
        if request.template:
            try:
                Template.parse(request.template)
            except TemplateError as exc:
                raise InvalidRequestError(f"template error: {exc}") from exc
            if not (is_plain(request.template) and self._uses_chat_template()):
                self._replace("template", request.template.encode())
        if request.system:
            self._replace("system", request.system.encode())
        for text in parse_licenses(request.license):
            self._put("license", text.encode())
        if request.parameters:
            self.parameters |= dict(request.parameters)
        if self.parameters or request.parameters:
            self._replace("params", encode_sorted(self.parameters) + b"\n")
        if request.raw_messages:
            self._replace("messages", encode(list(request.raw_messages)) + b"\n")
        named = {"renderer": request.renderer, "parser": request.parser, "requires": request.requires}
        overrides: dict[str, Any] = {name: value for name, value in named.items() if value}
        self.config = replace(self.config, **overrides)

    def _apply_built_in(self, request: CreateRequest) -> None:
        for gguf in self.headers:
            default = create_default(gguf.architecture)
            if default is None:
                continue
            self.config = replace(
                self.config,
                renderer=self.config.renderer or default.renderer,
                parser=self.config.parser or default.parser,
            )
            if default.stop and "stop" not in (request.parameters or {}):
                self.parameters["stop"] = list(default.stop)

    def apply_info(self, info: dict[str, Any]) -> None:
        """Apply overrides of the config, as returned by `parse_info`."""
        names = {
            "model_family": "family",
            "base_name": "base_name",
            "quantization_level": "file_type",
            "parameter_size": "parameter_size",
            "context_length": "context_length",
            "embedding_length": "embedding_length",
        }
        changes = {names[name]: value for name, value in info.items() if name in names}
        added = tuple(c for c in info.get("capabilities", ()) if c not in self.config.capabilities)
        if family := info.get("model_family"):
            changes["families"] = (family, *(self.config.families or ()))
        self.config = replace(self.config, **changes, capabilities=self.config.capabilities + added)

    def weights(self, kinds: Sequence[str]) -> list[int]:
        """Indexes of the layers of some kinds."""
        return [i for i, layer in enumerate(self.layers) if layer.kind in kinds]

    def status_of(self, layer: Layer) -> str:
        is_old = layer.digest not in self.workspace.added | self.fresh
        return self.statuses.get(layer.digest) or (
            f"{'using existing' if is_old else 'creating new'} layer {layer.digest}"
        )

    def _uses_chat_template(self) -> bool:
        """Whether prompts are made by the chat template of the weights, and no template overrides it."""
        if self.base_weights is not None and any(layer.kind == "template" for layer in self.layers):
            return False
        headers = self.headers
        if not headers and self.base_weights is not None:
            try:
                headers = [GGUFFile.open(self.base_weights)]
            except (GGUFError, OSError):
                return False
        return any(bool(header.metadata.get("tokenizer.chat_template")) for header in headers)

    def _replace(self, kind: str, data: bytes) -> None:
        media_type = layer_media_type(kind)
        self.layers = [layer for layer in self.layers if layer.media_type != media_type]
        self._put(kind, data)

    def _put(self, kind: str, data: bytes) -> Layer:
        check_text_size(kind, len(data))
        result = self.workspace.put_bytes(data)
        layer = Layer(layer_media_type(kind), result.digest, result.size_bytes)
        self.layers.append(layer)
        return layer
