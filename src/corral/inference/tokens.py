"""Texts as tokens of a model, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corral.errors import InvalidRequestError
from corral.inference.profile import ModelProfile
from corral.runner.interface import Runner


async def tokens_of(
    runner: Runner, text: str, *, add_special: bool, parse_special: bool, wants_pieces: bool
) -> tuple[Sequence[int], list[str | list[int]]]:
    """The tokens of a text, and if wanted the text of each, or its bytes if those are not text by themselves.

    Raises:
        EngineError, RunnerExitedError
    """
    if not wants_pieces:
        return await runner.tokenize(text, add_special=add_special, parse_special=parse_special), []
    found = await runner.tokenize_pieces(text, add_special=add_special, parse_special=parse_special)
    return [token for token, _ in found], [piece for _, piece in found]


async def text_of(runner: Runner, profile: ModelProfile, tokens: Sequence[int]) -> str:
    """The text of tokens that a client sent.

    Raises:
        InvalidRequestError: an id that the model does not have.
        EngineError, RunnerExitedError
    """
    check_tokens(profile, tokens)
    return await runner.detokenize(tokens)


def check_tokens(profile: ModelProfile, tokens: Iterable[int]) -> None:
    """Raises InvalidRequestError: an id that the model does not have."""
    vocabulary = profile.gguf.metadata.get("tokenizer.ggml.tokens") if profile.gguf else None
    size = len(vocabulary) if vocabulary is not None else 0
    strange = next((token for token in tokens if not 0 <= token < size), None)
    if strange is not None:
        raise InvalidRequestError(f"the model has no token {strange}; its tokens are 0 to {size - 1}")
