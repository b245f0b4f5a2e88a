"""The model library: list, show, copy, delete, and loaded models. Members are in wire order."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corral import caller
from corral.bounded import BoundedCache
from corral.chat.templates.plain import PLAIN_TEMPLATE
from corral.config import Settings
from corral.errors import (
    CloudDisabledError,
    GGUFError,
    InvalidModelNameError,
    InvalidRequestError,
    ModelNotFoundError,
    StoreError,
)
from corral.golang.json import encode, finite_or_text, format_local_time
from corral.golang.quote import quoted
from corral.inference import capabilities
from corral.inference.headers import open_header
from corral.inference.profile import ModelProfile, Profiles
from corral.library.array_json import answer_pieces
from corral.library.modelfile_text import format_parameters, modelfile_of
from corral.library.think_values import thinking_member
from corral.names import ModelName, ModelRef, parse_ref
from corral.registry.source import HUGGING_FACE
from corral.scheduler.spec import LoadedInfo
from corral.store.changes import copy_model, delete_model
from corral.store.config_blob import ModelConfig
from corral.store.models import Model, ModelStore
from corral.weights.gguf import GGUFArray, GGUFFile, file_type_name

_log = logging.getLogger("corral.library")

PROGRAM = "ollama"
_TAGS_MAX_AGE_S = 1.0
_MAX_SHOWN = 256
_MAX_SHOWN_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """`options` only affect the Modelfile; `basename` replaces `general.basename` for a client that needs it."""

    model: str
    system: str = ""
    is_verbose: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    basename: str = ""


class Library:
    """Reads and changes the store on behalf of the surfaces."""

    def __init__(self, settings: Settings, store: ModelStore, profiles: Profiles) -> None:
        self._settings = settings
        self._store = store
        self._profiles = profiles
        # What `show` answers of a model, and the profile that it was made from.
        self._shown: BoundedCache[ModelName, tuple[ModelProfile, bytes]] = BoundedCache(
            max_entries=_MAX_SHOWN, max_bytes=_MAX_SHOWN_BYTES
        )
        # The list entry of a model as JSON, with the model that it was made from.
        self._entries: dict[ModelName, tuple[Model, bytes]] = {}
        self._tags: tuple[bytes, int, float] = (b"", -1, 0.0)

    def recent_tags_json(self) -> bytes | None:
        """The last response of `/api/tags`, if it is still valid and for callers that may use every model.

        Changes made by this server are visible at once, those of other programs after a second.
        """
        answer, generation, made_s = self._tags
        if caller.current().models is not None:
            return None
        is_recent = time.monotonic() - made_s < _TAGS_MAX_AGE_S
        return answer if is_recent and generation == self._store.manifests.generation else None

    def tags_json(self) -> bytes:
        """The response of `/api/tags`, read from the folder: the models that the caller may use."""
        generation = self._store.manifests.generation
        entries: dict[ModelName, tuple[Model, bytes]] = {}
        answers: list[tuple[ModelName, bytes]] = []
        for model in self._store.list():
            known, answer = self._entries.get(model.name, (None, b""))
            if known is not model:
                answer, is_whole = self._entry_json(model)
                known = model if is_whole else None
            if known is not None:
                entries[model.name] = (known, answer)
            answers.append((model.name, _for_caller(answer, model)))
        self._entries = entries
        who = caller.current()
        result = b",".join([answer for name, answer in answers if who.may_use(name)])
        result = b'{"models":[' + result + b"]}"
        if who.models is None:
            self._tags = (result, generation, time.monotonic())
        return result

    def _entry_json(self, model: Model) -> tuple[bytes, bool]:
        """An entry of the list, and whether it can be cached for this model.

        A damaged model never keeps the others from being listed.
        """
        try:
            return encode(self._tags_entry(model)), not model.weights_path or _header(model) is not None
        except Exception:
            _log.exception("cannot describe model=%s", model.name)
            plain = replace(model, config=ModelConfig(), weights_path=None, template=None, is_damaged=True)
            return encode(self._tags_entry(replace(plain, problem="this model cannot be described"))), False

    def _tags_entry(self, model: Model) -> dict[str, Any]:
        name = model.name.short()
        entry: dict[str, Any] = {"name": name, "model": name}
        if model.config.remote_model:
            entry["remote_model"] = model.config.remote_model
        if model.config.remote_host:
            entry["remote_host"] = model.config.remote_host
        gguf = _header(model)
        entry |= {
            "modified_at": format_local_time(model.modified_ns),
            "size": model.size_bytes,
            "digest": model.digest_hex,
            "details": details_of(model) | _lengths(model, gguf),
        }
        is_unreadable = model.weights_path is not None and gguf is None
        if problem := model.problem or ("its weights are missing or damaged" if is_unreadable else ""):
            entry["problem"] = problem  # an additional member: why it cannot be run
        if found := capabilities.tags_order(self._capabilities(model, gguf), gguf):
            entry["capabilities"] = list(found)
        return entry

    def _capabilities(self, model: Model, gguf: GGUFFile | None) -> tuple[str, ...]:
        projector = _open(model.projector_paths[0]) if model.projector_paths else None
        template = capabilities.parse_template(model.template)
        traits = capabilities.Traits(model, gguf, projector, template)
        kind = capabilities.choose_kind(traits, go_template=self._settings.go_template)
        return capabilities.capabilities_of(traits, kind)

    def show_json(self, request: ShowRequest) -> bytes:
        """The JSON of `show` without arrays. That of a plain request is kept as long as the model is the same.

        Raises:
            InvalidRequestError, ModelNotFoundError, CorruptManifestError
        """
        if request != ShowRequest(request.model):
            return b"".join(self.show_pieces(request))
        model = self.find_model(request.model)
        profile = self._profiles.look(model)
        kept = self._shown.get(model.name)
        if kept is None or kept[0] is not profile:
            kept = (profile, b"".join(answer_pieces(self._show(request, model, profile))))
            self._shown.put(model.name, kept, len(kept[1]))
        return _for_caller(kept[1], model)

    def show_pieces(self, request: ShowRequest) -> Iterator[bytes]:
        """The JSON of `show`, in pieces of bounded size.

        Raises:
            InvalidRequestError, ModelNotFoundError, CorruptManifestError
        """
        return answer_pieces(self.show(request))

    def show(self, request: ShowRequest) -> dict[str, Any]:
        """The response of `/api/show`. With `is_verbose` it contains arrays of the file as GGUFArray.

        Raises:
            InvalidRequestError, ModelNotFoundError, CorruptManifestError
        """
        model = self.find_model(request.model)
        shown = self._show(request, model, self._profiles.look(model))
        if _has_hidden_parent(model):
            shown["details"] |= {"parent_model": ""}
        return shown

    def _show(self, request: ShowRequest, model: Model, profile: ModelProfile) -> dict[str, Any]:
        system = request.system or model.system
        parameters = dict(model.parameters)
        answer: dict[str, Any] = {
            "license": "\n".join(model.licenses),
            "modelfile": modelfile_of(
                model,
                template=_printed_template(model, profile.gguf),
                system=system,
                parameters=parameters | dict(request.options),
                program=PROGRAM,
            ),
            "parameters": format_parameters(parameters),
            "template": profile.chat.template_in_weights
            or (PLAIN_TEMPLATE if model.template is None else model.template),
            "system": system,
            "details": details_of(model, profile.gguf),
            "messages": [{"role": m.role, "content": m.content} for m in model.messages],
            "remote_model": model.config.remote_model,
            "remote_host": model.config.remote_host,
            "model_info": _model_info(model, profile.gguf, request),
        }
        if model.projector_paths and (projector := _open(model.projector_paths[0])):
            facts = {**projector.metadata, "general.parameter_count": projector.parameter_count}
            answer["projector_info"] = _info(facts, is_verbose=request.is_verbose)
        if profile.gguf is not None:
            answer["tensors"] = [
                {"name": tensor.name, "type": tensor.type_name, "shape": list(tensor.shape)}
                for tensor in profile.gguf.tensors
            ]
        answer["capabilities"] = list(profile.capabilities)
        answer["thinking"] = thinking_member(profile)
        answer["modified_at"] = format_local_time(model.modified_ns)
        answer["requires"] = model.config.requires
        answer["problem"] = model.problem
        kept = ("details", "model_info", "modified_at", "projector_info")
        return {name: value for name, value in answer.items() if value or name in kept}

    def origins(self) -> dict[str, str]:
        """The origin of each model by short name: `registry`, or `local` if it was created on this server.

        Split models from Hugging Face are assembled by a create, but count as `registry`.
        """
        return {
            stored.name.short(): "local"
            if stored.is_made_here and stored.name.host.lower() not in HUGGING_FACE
            else "registry"
            for stored in self._store.manifests.stored()
            if caller.current().may_use(stored.name)
        }

    def list_models(self) -> list[Model]:
        """All readable models that the caller may use, the most recently changed first."""
        who = caller.current()
        return [model for model in self._store.list() if not model.is_damaged and who.may_use(model.name)]

    def find_model(self, name: str) -> Model:
        """A model by its name as typed.

        Raises:
            InvalidRequestError, ModelNotFoundError, CorruptManifestError
            CloudDisabledError: the name of a cloud model.
        """
        ref = parse_ref(self._profiles.rules.resolve(name))
        if ref.source == "cloud":
            raise CloudDisabledError("ollama cloud is disabled: remote model details are unavailable")
        return self._find(ref, name)

    def _find(self, ref: ModelRef, asked: str) -> Model:
        name = ModelName.parse(ref.base)
        caller.require_model(name, asked)
        try:
            model = self._store.find(name)
        except ModelNotFoundError:
            is_lower = name.full() == name.full().lower()
            spelled = name if is_lower else self._store.manifests.resolve(name)
            raise ModelNotFoundError(spelled.short()) from None
        if model.weights_path and (problem := self._store.blobs.links.problem(model.weights_path)):
            raise StoreError(problem)
        if not model.problem and model.weights_path and not model.weights_path.exists():
            raise ModelNotFoundError(name.short())
        return model

    def ps(self, loaded: list[LoadedInfo]) -> list[dict[str, Any]]:
        """The entries of `/api/ps` that the caller may see, the last to expire first."""
        entries = []
        for info in sorted(loaded, key=_expiry):
            if not self.is_visible(info.name):
                continue
            assert isinstance(info.details, Model)
            details = details_of(info.details) | {"parent_model": ""}
            entries.append(
                {
                    "name": info.name,
                    "model": info.name,
                    "size": info.size_bytes,
                    "digest": info.manifest_digest,
                    "details": details,
                    "expires_at": format_local_time(info.expires_at_ns),
                    "size_vram": info.size_vram_bytes,
                    "context_length": info.num_ctx,
                }
                | _on_devices(info)
                | _in_groups(info)
            )
        return entries

    @staticmethod
    def is_visible(short_name: str) -> bool:
        """Whether the caller may know of a model, by its short name."""
        who = caller.current()
        return who.models is None or who.may_use(ModelName.parse(short_name))

    def copy(self, source: str, destination: str) -> None:
        """Give a model another name.

        Raises:
            InvalidRequestError, ForbiddenError, ModelNotFoundError
        """
        from_name = self._parse(source, f"source {quoted(source)} is invalid")
        to_name = self._parse(destination, f"destination {quoted(destination)} is invalid")
        if from_name.path_parts() == to_name.path_parts():
            return
        try:
            copy_model(self._store, from_name, to_name)
        except FileNotFoundError:
            raise ModelNotFoundError(source, f"model {quoted(source)} not found") from None

    def delete(self, name: str) -> None:
        """Delete a model and the blobs that no other model uses.

        Raises:
            InvalidRequestError, ForbiddenError, ModelNotFoundError, CorruptManifestError
        """
        ref = parse_ref(name)
        base = _cloud_tag(ref.base) if ref.source == "cloud" else ref.base
        parsed = self._parse(base, f"name {quoted(name)} is invalid")
        try:
            delete_model(self._store, parsed)
        except FileNotFoundError:
            raise ModelNotFoundError(name) from None

    def _parse(self, text: str, message: str) -> ModelName:
        try:
            name = ModelName.parse(text)
        except InvalidModelNameError:
            raise InvalidRequestError(message) from None
        caller.require_model(name)
        return self._store.manifests.resolve(name)


def _printed_template(model: Model, gguf: GGUFFile | None) -> str:
    """The template for a Modelfile; empty if the weights have the one that is used."""
    if model.template is not None:
        return model.template
    has_own = gguf is not None and bool(gguf.metadata.get("tokenizer.chat_template"))
    return "" if has_own else PLAIN_TEMPLATE


def _cloud_tag(base: str) -> str:
    """The name of the stub of a cloud model."""
    return f"{base}-cloud" if base.rfind(":") > base.rfind("/") else f"{base}:cloud"


def _on_devices(info: LoadedInfo) -> dict[str, Any]:
    """Where a model is, if GPUs may have been used, and why it is not on them: fields that Ollama does not have."""
    reason = {"fallback": info.fallback} if info.fallback else {}
    load = info.load
    if load is None:
        return dict(reason)
    return {
        "gpu_layers": load.offloaded,
        "layers": load.layer_count,
        "devices": [
            {"name": part.name, "size": part.size_bytes}
            | ({} if part.layers is None else {"layers": part.layers})
            for part in load.devices
        ],
        **reason,
    }


def _in_groups(info: LoadedInfo) -> dict[str, Any]:
    """Fields that Ollama does not have, for a model that the configuration keeps beside others, or apart."""
    found: dict[str, Any] = {"groups": list(info.groups)} if info.groups else {}
    return found | ({"pinned": True} if info.is_pinned else {})


def _expiry(info: LoadedInfo) -> int:
    return -info.expires_at_ns


def _open(path: Path) -> GGUFFile | None:
    try:
        return open_header(path)
    except (GGUFError, OSError):
        return None


def _header(model: Model) -> GGUFFile | None:
    return _open(model.weights_path) if model.weights_path else None


def _has_hidden_parent(model: Model) -> bool:
    """Whether a model was made from one that the caller may not know of."""
    who = caller.current()
    if who.models is None or not model.parent:
        return False
    try:
        return not who.may_use(ModelName.parse(model.parent))
    except InvalidModelNameError:
        return True


def _for_caller(answer: bytes, model: Model) -> bytes:
    """A list entry, or an answer of show, as the caller may see it."""
    if not _has_hidden_parent(model):
        return answer
    # No text in the JSON can look like the member: its quotes would be escaped.
    return answer.replace(b'"parent_model":' + encode(model.parent), b'"parent_model":""', 1)


def details_of(model: Model, gguf: GGUFFile | None = None) -> dict[str, Any]:
    """The `details` member that list, show and ps share."""
    config = model.config
    level = config.file_type
    if gguf is not None and level in ("", "unknown"):
        number = gguf.metadata.get("general.file_type")
        level = file_type_name(number) if isinstance(number, int) else level
    return {
        "parent_model": model.parent,
        "format": config.model_format,
        "family": config.family,
        "families": list(config.families) if config.families is not None else None,
        "parameter_size": config.parameter_size,
        "quantization_level": level,
    }


def _lengths(model: Model, gguf: GGUFFile | None) -> dict[str, int]:
    lengths = {}
    for name in ("context_length", "embedding_length"):
        value = getattr(model.config, name) or (gguf.get_arch(name) if gguf else None)
        if isinstance(value, int) and value > 0:
            lengths[name] = value
    return lengths


def _model_info(model: Model, gguf: GGUFFile | None, request: ShowRequest) -> dict[str, Any]:
    if gguf is None:
        config, info = model.config, {}
        if config.family:
            info["general.architecture"] = config.family
            for name in ("context_length", "embedding_length"):
                if value := getattr(config, name):
                    info[f"{config.family}.{name}"] = value
    else:
        hidden = ("general.name", "tokenizer.chat_template")
        metadata = {key: value for key, value in gguf.metadata.items() if key not in hidden}
        metadata["general.parameter_count"] = gguf.parameter_count
        info = _info(metadata, is_verbose=request.is_verbose)
    if request.basename:
        info["general.basename"] = request.basename
    return dict(sorted(info.items()))


def _info(metadata: Mapping[str, Any], *, is_verbose: bool) -> dict[str, Any]:
    return {key: _value(metadata[key], is_verbose=is_verbose) for key in sorted(metadata)}


def _value(value: Any, *, is_verbose: bool) -> Any:
    if isinstance(value, GGUFArray) and not is_verbose:
        return [] if len(value) == 0 else None
    return finite_or_text(value) if isinstance(value, float) else value
