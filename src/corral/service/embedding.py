"""Vectors: inputs cut to what the model reads, embedded in one engine call, normalised, shortened.

Ollama: server/routes.go EmbedHandler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from corral.errors import EngineError, InvalidRequestError
from corral.gowire import shorten_float32
from corral.runner.interface import Runner
from corral.service.completion import Stopwatch
from corral.service.requests import EmbedRequest, EmbedResult

__all__ = ["embed"]

_TOO_LONG = "the input length exceeds the context length"
_SMALLEST_NORM = 1e-12
_UNIT_TOLERANCE = 1e-5


async def embed(runner: Runner, request: EmbedRequest, stopwatch: Stopwatch) -> EmbedResult:
    """Embed the inputs of a request.

    Raises:
        InvalidRequestError: an input that is too long and must not be cut, or vectors that are not finite.
        EngineError, RunnerExitedError
    """
    if not request.inputs:
        return EmbedResult()
    if not runner.spec.is_embedding:
        text = "This server does not support embeddings. Start it with `--embeddings`"
        raise EngineError(500 if request.is_legacy else 501, text)
    try:
        if _surely_fit(request.inputs, runner):
            rows, prompt_count = await runner.embed_texts(request.inputs)
        else:
            tokens = [
                _fit(ids, runner, may_cut=request.truncate, is_legacy=request.is_legacy)
                for ids in await runner.tokenize_many(request.inputs)
            ]
            rows, prompt_count = await runner.embed(tokens, normalize=True), sum(map(len, tokens))
    except EngineError as error:
        raise _without_frame(error) from error
    if not request.is_legacy:
        rows = [shorten(row, request.dimensions) for row in rows]
    return EmbedResult(
        embeddings=rows,
        total_duration_ns=stopwatch.total_ns,
        load_duration_ns=stopwatch.load_ns,
        prompt_count=prompt_count,
    )


def _surely_fit(inputs: Sequence[str], runner: Runner) -> bool:
    """Whether no input can be too long: a token stands for at least one byte, and the frame adds two.

    Empty texts go the long way, because the engine's route for texts refuses them.
    """
    limit = min(runner.spec.num_ctx, runner.facts.num_ctx) - 2
    return all(text and len(text.encode("utf-8", "replace")) <= limit for text in inputs)


def _fit(ids: list[int], runner: Runner, *, may_cut: bool, is_legacy: bool) -> list[int]:
    """The token list that is embedded, with the tokenizer's own frame around it."""
    facts = runner.facts
    bos = [facts.bos_id] if facts.bos_id is not None and ids[:1] != [facts.bos_id] else []
    eos = [facts.eos_id] if facts.eos_id is not None and ids[-1:] != [facts.eos_id] else []
    limit = min(runner.spec.num_ctx, facts.num_ctx) - len(bos) - len(eos)
    if len(ids) > limit:
        if not may_cut:
            error = InvalidRequestError(_TOO_LONG)
            raise EngineError(500, _TOO_LONG) if is_legacy else error
        if limit <= 0:
            raise InvalidRequestError("input after truncation exceeds maximum context length")
        ids = ids[:limit]
    return [*bos, *ids, *eos]


def _without_frame(error: EngineError) -> EngineError:
    return EngineError(error.status, error.message.strip(), error.message)


def shorten(row: Sequence[float], dimensions: int) -> list[float]:
    """The first `dimensions` values (0 or too many: all) as a vector of length one.

    Raises:
        InvalidRequestError: a value that is no number.
    """
    kept = list(row[:dimensions]) if 0 < dimensions < len(row) else list(row)
    norm = math.sqrt(math.fsum(value * value for value in kept))
    if not math.isfinite(norm):
        raise InvalidRequestError("embedding contains NaN or Inf values")
    if len(kept) == len(row) and abs(norm - 1) < _UNIT_TOLERANCE:
        return kept  # as the engine normalised it: its short decimals are what goes on the wire
    scale = 1.0 / max(norm, _SMALLEST_NORM)
    return [shorten_float32(value * scale) for value in kept]
