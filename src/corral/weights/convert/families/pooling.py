"""The pooling of sentence models, from sentence-transformers' `modules.json` and its folders."""

from __future__ import annotations

from typing import Any

from corral.errors import ConversionError
from corral.weights.convert.checkpoint import Checkpoint
from corral.weights.convert.output import Output

# Numbers as in llama.h, enum llama_pooling_type.
POOLING = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}
_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_MODE_NAMES = {"mean": "mean", "cls": "cls", "lasttoken": "last"}


def write_pooling(checkpoint: Checkpoint, out: Output, *, default: str | None = None) -> None:
    """Write the pooling and whether vectors are normalised; nothing if it is not a sentence model.

    Raises:
        ConversionError: a pooling that the engine does not support.
    """
    modules = _modules(checkpoint)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if modules:
        out.set(".normalize_embeddings", "Normalize" in kinds)
    pooling = default
    for module, kind in zip(modules, kinds, strict=True):
        if kind == "Pooling":
            name = f"{module.get('path', '1_Pooling')}/config.json"
            pooling = _pooling(checkpoint.object(name), name)
    if pooling is not None:
        out.set_int(".pooling_type", POOLING[pooling])


def _modules(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    modules = checkpoint.json("modules.json")
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ConversionError("modules.json: expected a list of objects")
    return modules


def _pooling(settings: dict[str, Any], name: str) -> str:
    chosen = [mode for key, mode in _MODES.items() if settings.get(key) is True]
    by_name = settings.get("pooling_mode")
    if not chosen and isinstance(by_name, str) and by_name in _MODE_NAMES:
        chosen = [_MODE_NAMES[by_name]]
    if len(chosen) != 1:
        raise ConversionError(f"{name}: mean, cls or last-token pooling is needed, exactly one of them")
    return chosen[0]
