"""The files that the engine gets for a model: the blobs, or translations of those that it would not load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from corral.digest import Digest
from corral.errors import CorralError, RunnerStartError
from corral.inference.profile import ModelProfile
from corral.weights.gguf import GGUFFile
from corral.weights.translate.cache import Part, TranslatedFiles


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """Files to load; None and empty mean the model's own."""

    weights: Path | None = None
    projectors: tuple[Path, ...] = ()


class EngineFiles:
    """Has each translation written once, however many requests wait for it."""

    def __init__(self, cache: TranslatedFiles) -> None:
        self._cache = cache
        self._writing: dict[str, asyncio.Task[EnginePaths]] = {}

    async def paths(self, profile: ModelProfile) -> EnginePaths:
        """The files for a model. The first request for one that is translated waits until that is done; one that
        leaves does not stop it.

        Raises:
            RunnerStartError: the translation failed; the text says why.
        """
        if not profile.needs_view:
            return EnginePaths()
        key = profile.weights_key
        task = self._writing.get(key)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._write, profile), name=f"translate-{key}")
            self._writing[key] = task
            task.add_done_callback(lambda _task: self._writing.pop(key, None))
        try:
            return await asyncio.shield(task)
        except (CorralError, OSError) as exc:
            raise RunnerStartError(
                f"unable to load model: {profile.model.name.short()}: {exc}",
                hint=getattr(exc, "hint", "") or f"create or pull {profile.model.name.short()} again",
            ) from exc

    def _write(self, profile: ModelProfile) -> EnginePaths:
        model = profile.model
        weights = self._one(model.weights_digest, profile.gguf, "text")
        if model.projector_paths:
            # A separate projector is a file like any other; only older ones do not name their kind.
            first = self._one(model.projector_digest, profile.projector, "text")
            return EnginePaths(weights, (first, *model.projector_paths[1:]) if first else ())
        projector = self._one(model.weights_digest, profile.gguf, "projector")
        return EnginePaths(weights, (projector,) if projector else ())

    def _one(self, digest: Digest | None, gguf: GGUFFile | None, part: Part) -> Path | None:
        return self._cache.ensure(digest, gguf, part) if digest is not None and gguf is not None else None
