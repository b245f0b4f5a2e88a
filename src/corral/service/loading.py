"""From a model profile and options to what the scheduler is asked for."""

from __future__ import annotations

from corral.errors import RunnerStartError
from corral.scheduler.spec import LoadRequest
from corral.service.profile import ModelProfile
from corral.service.views import EnginePaths
from corral.types import LoadOptions

__all__ = ["load_request"]

# Its cache cannot be shifted, so by default it is not.
_NO_SHIFT = ("deepseek2",)


def _pooling(profile: ModelProfile) -> str | None:
    """What to do with the vectors of a text's tokens; None: what the file says."""
    if profile.is_reranker:
        return "rank"
    # A model that was not made for vectors has no way of its own to make one of many.
    is_silent = profile.gguf is not None and profile.gguf.get_arch("pooling_type") in (None, 0)
    return "mean" if profile.is_embedding and is_silent else None


def load_request(
    profile: ModelProfile, paths: EnginePaths, options: LoadOptions, *, shift: bool | None
) -> LoadRequest:
    """What has to be loaded.

    Raises:
        RunnerStartError: the model's file is one that the engine would abort on.
    """
    model = profile.model
    if profile.problem or model.weights_path is None:
        reason = profile.problem or "the model has no weights"
        raise RunnerStartError(
            f"unable to load model: {model.weights_path or model.name.short()}: {reason}",
            hint=f"create or pull {model.name.short()} again",
        )
    architecture = profile.gguf.architecture if profile.gguf else ""
    return LoadRequest(
        weights_path=paths.weights or model.weights_path,
        weights_key=profile.weights_key,
        name=model.name.short(),
        manifest_digest=model.digest_hex,
        options=options,
        adapter_paths=model.adapter_paths,
        projector_paths=paths.projectors or model.projector_paths,
        draft_path=model.draft_path,
        context_shift=architecture not in _NO_SHIFT if shift is None else shift,
        is_embedding=profile.is_embedding,
        has_completion="completion" in profile.capabilities,
        has_vision="vision" in profile.capabilities,
        family=profile.family,
        pooling=_pooling(profile),
        shape=profile.shape,
        details=model,
    )
