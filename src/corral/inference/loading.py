"""From a model profile and options to what the scheduler is asked for."""

from __future__ import annotations

from corral.errors import RunnerStartError, StoreError
from corral.inference.engine_files import EnginePaths
from corral.inference.profile import ModelProfile
from corral.scheduler.spec import LoadRequest
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


def load_request(
    profile: ModelProfile, paths: EnginePaths, options: LoadOptions, *, shift: bool | None
) -> LoadRequest:
    """What has to be loaded.

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
        draft_path=model.draft_path,
        context_shift=shifts if shift is None else shift,
        is_embedding=profile.is_embedding,
        has_completion="completion" in profile.capabilities,
        has_vision="vision" in profile.capabilities,
        family=profile.family,
        pooling=_pooling(profile),
        shape=profile.shape,
        details=model,
    )
