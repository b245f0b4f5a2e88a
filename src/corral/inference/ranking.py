"""Scores of documents for a query, by a model that reads both together (a cross-encoder)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from corral.errors import InvalidRequestError
from corral.inference.completion import Stopwatch
from corral.inference.embedding import turns
from corral.inference.requests import RerankRequest, RerankResult
from corral.runner.interface import Runner

# What stands around and between the two texts; templates of generative rerankers have their own words.
_FRAME_TOKENS = 4
_MAX_CUTS = 8


async def rerank(
    runner: Runner, request: RerankRequest, stopwatch: Stopwatch, *, frame_tokens: int, is_probability: bool
) -> RerankResult:
    """Score the documents of a request; those too long are cut at their end.

    `frame_tokens` is what the model's own prompt adds; `is_probability`: its scores are between 0 and 1 already.

    Raises:
        InvalidRequestError: a query that leaves no room, a document that is too long and must not be cut, or a score
            that is not a number.
        EngineError, RunnerExitedError
    """
    limit = min(runner.spec.num_ctx, runner.facts.num_ctx) - _FRAME_TOKENS - frame_tokens
    room = limit - len(await runner.tokenize(request.query, parse_special=False))
    if room < 1:
        raise InvalidRequestError("the query is longer than the context length of the model")
    scores: list[float] = []
    prompt_count = 0
    for texts in turns(runner, request.documents):
        documents = await _fit(runner, texts, room, may_cut=request.truncate)
        found, count = await runner.rerank(request.query, documents, is_continued=bool(scores))
        if any(score is None or not math.isfinite(score) for score in found):
            raise InvalidRequestError(
                "the model gave a score that is not a number: its classifier head may be missing"
            )
        scores += found
        prompt_count += count
    if not request.is_raw and not is_probability:
        scores = [_sigmoid(score) for score in scores]
    return RerankResult(scores, prompt_count, stopwatch.total_ns, stopwatch.load_ns)


async def _fit(runner: Runner, texts: Sequence[str], room: int, *, may_cut: bool) -> list[str]:
    """The longest beginning of each text, by a few guesses, that has at most `room` tokens."""
    fitting = list(texts)
    open_ones = list(range(len(fitting)))
    for _ in range(_MAX_CUTS):
        # A token stands for at least one byte.
        open_ones = [i for i in open_ones if len(fitting[i].encode("utf-8", "replace")) > room]
        tokens = await runner.tokenize_many([fitting[i] for i in open_ones], parse_special=False)
        counts = {i: len(ids) for i, ids in zip(open_ones, tokens, strict=True) if len(ids) > room}
        if counts and not may_cut:
            raise InvalidRequestError("a document is longer than the context length of the model")
        for i, count in counts.items():
            fitting[i] = fitting[i][: min(len(fitting[i]) * room // count, len(fitting[i]) - 1)]
        open_ones = list(counts)
    for i in open_ones:
        fitting[i] = fitting[i][: room // 4]
    return fitting


def _sigmoid(score: float) -> float:
    # Written so that neither end overflows.
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    power = math.exp(score)
    return power / (1 + power)
