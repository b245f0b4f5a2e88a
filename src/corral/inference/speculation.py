"""What model files say about guessing tokens ahead: heads of the model, draft models, and whether it can go back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corral.errors import GGUFError
from corral.inference.headers import open_header
from corral.runner.interface import DraftKind
from corral.weights.architectures import architecture
from corral.weights.gguf import GGUFFile

# llama.cpp: the architectures of draft models that read the model's own activations.
_KINDS: dict[str, DraftKind] = {"eagle3": "draft-eagle3", "dflash": "draft-dflash"}
# Parts of the names of values that only a model with a state beside its cache has.
_STATES = ("ssm.", "wkv.", "shortconv.", "token_shift_count", "kda.")


@dataclass(frozen=True, slots=True)
class GuessFacts:
    """See `scheduler.spec.LoadRequest`."""

    draft_kind: DraftKind = "draft-simple"
    has_heads: bool = False
    can_rewind: bool = False


def guess_facts(gguf: GGUFFile | None, draft: GGUFFile | None) -> GuessFacts:
    """What the headers of a model and of its draft model say; reads no tensors."""
    if gguf is None:
        return GuessFacts()
    return GuessFacts(_draft_kind(draft), _has_heads(gguf), _can_rewind(gguf))


def draft_kind_of(path: Path) -> DraftKind:
    """How the engine uses a draft model that is a file of its own; it says itself what is wrong with it."""
    try:
        return _draft_kind(open_header(path))
    except (GGUFError, OSError):
        return "draft-simple"


def _draft_kind(draft: GGUFFile | None) -> DraftKind:
    if draft is None:
        return "draft-simple"
    if kind := _KINDS.get(draft.architecture):
        return kind
    return "draft-mtp" if _heads(draft) and "blk.0.attn_norm.weight" not in _names(draft) else "draft-simple"


def _has_heads(gguf: GGUFFile) -> bool:
    """Whether the weights hold a head for the token after the next one, which the engine can use.

    The engine aborts where the tensors are missing, and most of its architectures do where there are several heads.
    """
    blocks = gguf.get_arch("block_count", 0)
    return (
        architecture(gguf.architecture).uses_heads
        and _heads(gguf) == 1
        and isinstance(blocks, int)
        and f"blk.{blocks - 1}.nextn.eh_proj.weight" in _names(gguf)
    )


def _can_rewind(gguf: GGUFFile) -> bool:
    """Whether the engine can drop the last tokens of a sequence without computing others again."""
    start = f"{gguf.architecture}."
    return not any(
        name.startswith(start) and name.removeprefix(start).startswith(_STATES) for name in gguf.metadata
    )


def _heads(gguf: GGUFFile) -> int:
    count = gguf.get_arch("nextn_predict_layers", 0)
    return count if isinstance(count, int) else 0


def _names(gguf: GGUFFile) -> set[str]:
    return {tensor.name for tensor in gguf.tensors}
