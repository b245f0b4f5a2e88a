"""Scores of documents for a query, by a model that reads both together (a cross-encoder)."""

from __future__ import annotations

import math

from corral.errors import InvalidRequestError
from corral.runner.interface import Runner
from corral.service.completion import Stopwatch
from corral.service.requests import RerankRequest, RerankResult

__all__ = ["rerank"]

# A call cannot be stopped half way, so that a client that leaves is paid for at most one of this size.
_DOCUMENTS_PER_CALL = 128
# What stands around and between the two texts; templates of generative rerankers have their own words.
_FRAME_TOKENS = 4
_MAX_CUTS = 8


async def rerank(
    runner: Runner, request: RerankRequest, stopwatch: Stopwatch, *, frame_tokens: int, is_probability: bool
) -> RerankResult:
    """Score the documents of a request; those too long are cut at their end.

    `frame_tokens` is what the model's own prompt adds; `is_probability`: its scores are between 0 and 1 already.

    Raises:
        InvalidRequestError: a query that leaves no room, or a document that is too long and must not be cut.
        EngineError, RunnerExitedError
    """
    limit = min(runner.spec.num_ctx, runner.facts.num_ctx) - _FRAME_TOKENS - frame_tokens
    room = limit - len(await runner.tokenize(request.query, parse_special=False))
    if room < 1:
        raise InvalidRequestError("the query is longer than the context length of the model")
    documents = [await _fit(runner, text, room, may_cut=request.truncate) for text in request.documents]
    scores: list[float] = []
    prompt_count = 0
    for start in range(0, len(documents), _DOCUMENTS_PER_CALL):
        batch = documents[start : start + _DOCUMENTS_PER_CALL]
        found, count = await runner.rerank(request.query, batch)
        scores += found
        prompt_count += count
    if any(not math.isfinite(score) for score in scores):
        raise InvalidRequestError(
            "the model gave a score that is no number: its classifier head may be missing"
        )
    if not request.is_raw and not is_probability:
        scores = [_sigmoid(score) for score in scores]
    return RerankResult(scores, prompt_count, stopwatch.total_ns, stopwatch.load_ns)


async def _fit(runner: Runner, text: str, room: int, *, may_cut: bool) -> str:
    """The longest beginning of a text, by a few guesses, that has at most `room` tokens."""
    for _ in range(_MAX_CUTS):
        # A token stands for at least one byte.
        if len(text.encode("utf-8", "replace")) <= room:
            return text
        count = len(await runner.tokenize(text, parse_special=False))
        if count <= room:
            return text
        if not may_cut:
            raise InvalidRequestError("a document is longer than the context length of the model")
        text = text[: min(len(text) * room // count, len(text) - 1)]
    return text[: room // 4]


def _sigmoid(score: float) -> float:
    # Written so that neither end overflows.
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    power = math.exp(score)
    return power / (1 + power)
