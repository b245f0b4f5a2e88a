"""From a model profile and options to what the scheduler is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from corral.errors import RunnerStartError, StoreError
from corral.inference.engine_files import EnginePaths
from corral.inference.profile import ModelProfile
from corral.runner.interface import DraftKind
from corral.scheduler.spec import LoadRequest, MemoryShape
from corral.types import LoadOptions
from corral.weights.architectures import architecture


def _pooling(profile: ModelProfile) -> str | None:
    """What to do with the vectors of a text's tokens; None: what the file says."""
    if profile.is_reranker:
        return "rank"
    # A model that was not made for vectors does not have a way to make one of many.
    is_silent = profile.gguf is not None and profile.gguf.get_arch("pooling_type") in (None, 0)
    return "mean" if profile.is_embedding and is_silent else None


def check_weights(profile: ModelProfile) -> None:
    """Raises StoreError: the weights are missing or damaged, so that nothing is known of the model."""
    if profile.gguf is None and profile.problem:
        name = profile.model.name.short()
        raise StoreError(
            f'the weights of "{name}" are missing or damaged ({profile.problem}); `corral pull {name}` fetches a'
            " published model again, one that was made here has to be created again"
        )


def _shape_with(shape: MemoryShape, draft_path: Path | None) -> MemoryShape:
    """The shape with a draft model that is not part of the model.

    Raises:
        RunnerStartError: it does not exist.
    """
    if draft_path is None:
        return shape
    try:
        return replace(shape, extra_bytes=shape.extra_bytes + draft_path.stat().st_size)
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        raise RunnerStartError(
            f"unable to load the draft model {draft_path}: {reason}",
            hint="correct draft in the configuration",
        ) from exc


def load_request(
    profile: ModelProfile,
    paths: EnginePaths,
    options: LoadOptions,
    *,
    shift: bool | None,
    engine: Mapping[str, Any] | None = None,
    draft_path: Path | None = None,
    draft_kind: DraftKind | None = None,
    needs_logprobs: bool = False,
) -> LoadRequest:
    """What has to be loaded. `engine` and `draft_path` are what the configuration says, in place of other settings
    and of the model's own draft model.

    Raises:
        StoreError: the weights are missing or damaged.
        RunnerStartError: the model's file is one that the engine would abort on.
    """
    check_weights(profile)
    model = profile.model
    if profile.problem or model.weights_path is None:
        name, reason = model.name.short(), profile.problem or "the model has no weights"
        raise RunnerStartError(f"unable to load model: {name}: {reason}", hint=f"create or pull {name} again")
    shifts = architecture(profile.gguf.architecture if profile.gguf else "").shifts
    return LoadRequest(
        weights_path=paths.weights or model.weights_path,
        weights_key=profile.weights_key,
        name=model.name.short(),
        manifest_digest=model.digest_hex,
        options=options,
        adapter_paths=model.adapter_paths,
        projector_paths=paths.projectors or model.projector_paths,
        draft_path=draft_path or model.draft_path,
        engine=tuple(sorted((engine or {}).items())),
        draft_kind=draft_kind or profile.guesses.draft_kind,
        has_heads=profile.guesses.has_heads,
        can_rewind=profile.guesses.can_rewind,
        needs_logprobs=needs_logprobs,
        context_shift=shifts if shift is None else shift,
        is_embedding=profile.is_embedding,
        has_completion="completion" in profile.capabilities,
        has_vision="vision" in profile.capabilities,
        family=profile.family,
        pooling=_pooling(profile),
        shape=_shape_with(profile.shape, draft_path),
        details=model,
    )
