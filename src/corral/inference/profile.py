"""Everything that a request needs to know about a model, worked out once for each manifest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral import API_VERSION, caller, requestfacts
from corral.apiversion import is_beyond_api
from corral.bounded import BoundedCache
from corral.chat.gotemplate import Template
from corral.chat.templates.plain import PLAIN_TEMPLATE
from corral.config import Settings
from corral.configfile.rules import ModelRules
from corral.errors import CapabilityError, CloudDisabledError, GGUFError, ModelNotFoundError, StoreError
from corral.inference import capabilities
from corral.inference.chat_choice import choose_chat
from corral.inference.chats import Chat
from corral.inference.doubts import Doubts
from corral.inference.headers import checked_header, header_bytes
from corral.inference.recommended import recommended_parameters
from corral.inference.speculation import GuessFacts, guess_facts
from corral.names import ModelName, ModelRef, parse_ref
from corral.scheduler.shape import read_memory_shape
from corral.scheduler.spec import MemoryShape
from corral.store.models import Model, ModelStore
from corral.weights.gguf import GGUFFile
from corral.weights.translate import embeds_projector, needs_translation

_log = logging.getLogger("corral.models")

# Layers that are files for the engine.
_ENGINE_KINDS = frozenset({"model", "projector", "adapter", "draft"})
_MAX_PROFILES = 512
_MAX_BYTES = 64 << 20
_PROFILE_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """A model with what its prompts and replies need. Immutable; one for each manifest."""

    model: Model
    gguf: GGUFFile | None
    chat: Chat
    capabilities: tuple[str, ...]
    # The Go template, or the plain one: what fills gaps in a text.
    template: Template
    shape: MemoryShape
    # Why the engine must not be given the weights (empty: it may).
    problem: str
    # The model's stored parameters, over those that the weights recommend.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    projector: GGUFFile | None = None
    # The engine does not load the files as they are; what it gets is written on the first load.
    needs_view: bool = False
    # When this was worked out: size and time of the files of the engine, the weights first, and how many blobs had
    # been found damaged.
    stamps: tuple[tuple[int, int], ...] = ()
    damage_count: int = 0
    has_embedded_projector: bool = False
    guesses: GuessFacts = field(default_factory=GuessFacts)

    @property
    def has_projector(self) -> bool:
        return bool(self.model.projector_paths) or self.has_embedded_projector

    @property
    def family(self) -> str:
        return self.model.config.family

    @property
    def weights_key(self) -> str:
        """What identifies a runner: the weights, whatever names they have."""
        return str(self.model.weights_path or self.model.digest_hex)

    @property
    def is_embedding(self) -> bool:
        return "embedding" in self.capabilities

    @property
    def is_reranker(self) -> bool:
        return "rerank" in self.capabilities


class Profiles:
    """Looks models up by the name in a request."""

    def __init__(self, settings: Settings, store: ModelStore, rules: ModelRules | None = None) -> None:
        self._settings = settings
        self.rules = rules or ModelRules(settings.sections)
        self._store = store
        self._doubts = Doubts(store.blobs)
        self._cache: BoundedCache[ModelName, ModelProfile] = BoundedCache(
            max_entries=_MAX_PROFILES, max_bytes=_MAX_BYTES
        )
        # Profiles that were asked for by `look` alone.
        self._shown: BoundedCache[ModelName, ModelProfile] = BoundedCache(
            max_entries=_MAX_PROFILES, max_bytes=_MAX_BYTES
        )

    async def get(self, name: str, *, is_exact: bool = False, not_found: str = "") -> ModelProfile:
        """The profile of a model by the name as typed, which may be an alias.

        Raises:
            InvalidRequestError: no name, or a bad one, or one that asks for another place.
            ForbiddenError: the caller may not use it.
            ModelNotFoundError: with the text `not_found`, if there is one.
            StoreError: the weights are a file elsewhere, which has gone or changed.
            CapabilityError: it cannot be run here.
        """
        asked, name = name, self.rules.resolve(name)
        requestfacts.current().model = name
        ref, parsed = checked_name(name)
        caller.require_model(parsed, asked)
        model = self._store.peek(parsed)
        if model is None:
            find = self._store.load if is_exact else self._store.find
            try:
                model = await asyncio.to_thread(find, parsed)
            except ModelNotFoundError:
                raise ModelNotFoundError(name, not_found) from None
        if model.config.remote_model:
            if ref.source == "local":
                raise ModelNotFoundError(name, not_found)
            raise CloudDisabledError("ollama cloud is disabled: remote model is unavailable")
        if model.weights_path and (problem := self._store.blobs.links.problem(model.weights_path)):
            raise StoreError(problem)
        if model.problem:
            raise CapabilityError(f"{model.name.short()}: {model.problem}")
        profile = self._cache.get(model.name)
        if profile is None or profile.gguf is None or not self._is_current(profile, model):
            await self._doubts.settle(model, _ENGINE_KINDS)
            profile = await asyncio.to_thread(self.describe, model)
            if is_beyond_api(model.config.requires):
                text = "model=%s asks for Ollama %s, the API here is that of %s: it may not work as meant"
                _log.warning(text, model.name.short(), model.config.requires, API_VERSION)
            self._cache.put(model.name, profile, _profile_bytes(profile))
        return profile

    def look(self, model: Model) -> ModelProfile:
        """The profile of a model, to be shown only: doubts about its files are not settled. Blocks on the disk."""
        for cache in (self._cache, self._shown):
            profile = cache.get(model.name)
            if profile is not None and profile.gguf is not None and self._is_current(profile, model):
                return profile
        profile = self.describe(model)
        self._shown.put(model.name, profile, _profile_bytes(profile))
        return profile

    def _is_current(self, profile: ModelProfile, model: Model) -> bool:
        if profile.model is not model or profile.damage_count != self._store.blobs.checked.generation:
            return False
        return model.weights_path is not None and _stamps(model) == profile.stamps

    def _damage(self, model: Model) -> str:
        """What sizes, times and earlier checks say against the files that the engine would get."""
        for layer in model.layers:
            if layer.kind in _ENGINE_KINDS:
                try:
                    problem = self._store.blobs.problem(layer.digest, layer.size_bytes)
                except OSError:
                    continue  # whoever opens it says so
                if problem:
                    return f"{layer.digest.file_name()[:19]}: {problem}"
        return ""

    def describe(self, model: Model) -> ModelProfile:
        """Work a profile out; reads the header of the weights."""
        damage_count, stamps = self._store.blobs.checked.generation, _stamps(model)
        damage = self._damage(model)
        checked, digest = self._store.blobs.checked, model.weights_digest
        is_known = digest is not None and checked.is_loadable(digest, stamps[0])
        gguf, problem = _open(model.weights_path, is_known_loadable=is_known)
        if gguf is not None and digest is not None and not (problem or is_known):
            checked.note_loadable(digest, stamps[0])
        projector, _ = _open(model.projector_paths[0] if model.projector_paths else None)
        is_foreign = self._settings.translates and any(
            file is not None and needs_translation(file) for file in (gguf, projector)
        )
        if is_foreign and gguf is not None:
            problem = ""  # the translation is checked instead
        template = capabilities.parse_template(model.template)
        traits = capabilities.Traits(model, gguf, projector, template)
        go_template = template or Template.parse(PLAIN_TEMPLATE)
        go_template.prepare()
        chat, kind = choose_chat(traits, go_template, go_template=self._settings.go_template)
        parts = (*model.projector_paths, *model.adapter_paths, model.draft_path)
        extra_bytes = sum(_size(part) for part in parts if part is not None)
        return ModelProfile(
            model=model,
            gguf=gguf,
            chat=chat,
            capabilities=capabilities.capabilities_of(traits, kind),
            template=go_template,
            shape=read_memory_shape(
                gguf,
                file_bytes=gguf.size_bytes,
                extra_bytes=extra_bytes,
                projector_bytes=sum(map(_size, model.projector_paths)),
            )
            if gguf
            else MemoryShape(),
            problem=damage or problem,
            stamps=stamps,
            damage_count=damage_count,
            parameters={**recommended_parameters(gguf), **model.parameters},
            projector=projector,
            needs_view=is_foreign,
            guesses=guess_facts(gguf, _open(model.draft_path)[0]),
            has_embedded_projector=is_foreign and gguf is not None and embeds_projector(gguf),
        )


def _profile_bytes(profile: ModelProfile) -> int:
    headers = [gguf for gguf in (profile.gguf, profile.projector) if gguf is not None]
    return _PROFILE_BYTES + 4 * len(profile.model.template or "") + sum(map(header_bytes, headers))


def checked_name(name: str) -> tuple[ModelRef, ModelName]:
    """A name as typed, of a model that would run here; whether it exists is another question.

    Raises:
        InvalidRequestError: no name, or a bad one.
        CloudDisabledError: one that asks for another place.
    """
    ref = parse_ref(name)
    parsed = ModelName.parse(ref.base)
    if ref.source == "cloud":
        raise CloudDisabledError("ollama cloud is disabled: remote model is unavailable")
    return ref, parsed


def _stamps(model: Model) -> tuple[tuple[int, int], ...]:
    """Size and time of the files that the engine would get."""
    paths = (model.weights_path, *model.projector_paths, *model.adapter_paths, model.draft_path)
    return tuple(map(_stamp, paths))


def _stamp(path: Path | None) -> tuple[int, int]:
    """Size and time of a file; zeros if it is not there."""
    try:
        info = path.stat() if path is not None else None
    except OSError:
        info = None
    return (info.st_size, info.st_mtime_ns) if info is not None else (0, 0)


def _open(path: Path | None, *, is_known_loadable: bool = False) -> tuple[GGUFFile | None, str]:
    """A header, and why the engine must not be given the file (empty: it may)."""
    if path is None:
        return None, ""
    try:
        return checked_header(path, is_known_loadable=is_known_loadable)
    except FileNotFoundError:
        return None, "the file is not there"
    except OSError as exc:
        return None, (exc.strerror or type(exc).__name__).lower()
    except GGUFError as exc:
        return None, str(exc)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
