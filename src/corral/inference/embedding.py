"""Vectors: inputs cut to what the model reads, embedded in turns of the engine, normalised, shortened.

Ollama: server/routes.go EmbedHandler.
"""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from collections.abc import Iterator, Sequence

from corral.errors import EngineError, InvalidRequestError
from corral.inference.completion import Stopwatch
from corral.inference.requests import EmbedRequest, EmbedResult
from corral.runner.interface import Runner
from corral.runner.pace import Step

_TOO_LONG = "the input length exceeds the context length"
_SMALLEST_NORM = 1e-12
_UNIT_TOLERANCE = 1e-5
# One turn's answer is read on the event loop.
_MAX_TURN_INPUTS = 256
# Four bytes each, all held until the last is there.
_MAX_VALUES = 48 << 20


async def embed(
    runner: Runner, request: EmbedRequest, stopwatch: Stopwatch, *, num_ctx: int | None = None
) -> EmbedResult:
    """Embed the inputs of a request, cut to `num_ctx` tokens (None: what the runner has).

    A context that is too small to be loaded counts as it was said.

    Raises:
        InvalidRequestError: an input that is too long and must not be cut, vectors that are not finite, or more of
            them than one answer holds.
        EngineError, RunnerExitedError, QueueFullError
    """
    if not request.inputs:
        return EmbedResult()
    if not runner.spec.is_embedding:
        text = "This server does not support embeddings. Start it with `--embeddings`"
        raise EngineError(500 if request.is_legacy else 501, text)
    limit = min(runner.spec.num_ctx, runner.facts.num_ctx)
    limit = limit if num_ctx is None else min(limit, num_ctx)
    if "numpy" not in sys.modules:
        await asyncio.to_thread(_import_numpy)
    rows: list[Sequence[float]] = []
    prompt_count = 0
    for inputs in turns(runner, request.inputs):
        try:
            found, count = await _embed_turn(runner, request, inputs, limit, is_continued=bool(rows))
        except EngineError as error:
            raise _without_frame(error) from error
        _check_count(len(request.inputs), len(found[0]))
        rows += [shorten(row, request.dimensions) for row in found]
        prompt_count += count
    return EmbedResult(
        embeddings=rows,
        total_duration_ns=stopwatch.total_ns,
        load_duration_ns=stopwatch.load_ns,
        prompt_count=prompt_count,
    )


def turns(runner: Runner, texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in groups, each of which keeps the engine busy for a moment only.

    Others get their turn in between, and a client that leaves has paid for one of them at most.
    """
    most_bytes = 4 * runner.facts.num_ctx  # of a text; what is longer is cut
    slots = runner.spec.num_parallel
    step = Step(slots, runner.turn_bytes)
    start = size = 0
    for i, text in enumerate(texts):
        text_bytes = min(len(text), most_bytes)
        is_full = size >= runner.turn_bytes or i - start == _MAX_TURN_INPUTS
        if start < i and (is_full or not step.holds(text_bytes)):
            yield texts[start:i]
            start, size, step = i, 0, Step(slots, runner.turn_bytes)
        size += text_bytes
        step.add(text_bytes)
    if start < len(texts):
        yield texts[start:]


async def _embed_turn(
    runner: Runner, request: EmbedRequest, inputs: Sequence[str], num_ctx: int, *, is_continued: bool
) -> tuple[list[array[float]], int]:
    if _surely_fit(inputs, num_ctx):
        return await runner.embed(inputs, is_continued=is_continued)
    tokens = [_fit(ids, runner, num_ctx, request) for ids in await runner.tokenize_many(inputs)]
    return await runner.embed(tokens, is_continued=is_continued)


def _check_count(input_count: int, dimensions: int) -> None:
    """Raises InvalidRequestError: the answer would not fit into memory."""
    if input_count * dimensions > _MAX_VALUES:
        raise InvalidRequestError(
            f"too many inputs: {input_count} vectors of {dimensions} values do not fit into one answer;"
            f" send at most {_MAX_VALUES // dimensions} inputs in a request"
        )


def _surely_fit(inputs: Sequence[str], num_ctx: int) -> bool:
    """Whether no input can be too long: a token stands for at least one byte, and the frame adds two.

    Empty texts go the long way, because the engine refuses them.
    """
    return all(text and len(text.encode("utf-8", "replace")) <= num_ctx - 2 for text in inputs)


def _fit(ids: Sequence[int], runner: Runner, num_ctx: int, request: EmbedRequest) -> list[int]:
    """The token list that is embedded, with the tokenizer's own frame around it."""
    facts = runner.facts
    bos = [facts.bos_id] if facts.bos_id is not None and list(ids[:1]) != [facts.bos_id] else []
    eos = [facts.eos_id] if facts.eos_id is not None and list(ids[-1:]) != [facts.eos_id] else []
    limit = num_ctx - len(bos) - len(eos)
    if len(ids) > limit:
        if not request.truncate:
            raise EngineError(500, _TOO_LONG) if request.is_legacy else InvalidRequestError(_TOO_LONG)
        if limit <= 0:
            raise InvalidRequestError("input after truncation exceeds maximum context length")
        ids = ids[:limit]
    return [*bos, *ids, *eos]


def _without_frame(error: EngineError) -> EngineError:
    return EngineError(error.status, error.message.strip(), error.message)


def shorten(row: array[float], dimensions: int) -> array[float]:
    """The first `dimensions` values (0 or too many: all) as a vector of length one.

    Raises:
        InvalidRequestError: a value that is not a finite number.
    """
    import numpy

    kept = row[:dimensions] if dimensions > 0 else row
    values = numpy.frombuffer(kept, dtype=numpy.float32).astype(numpy.float64)
    norm = math.sqrt(float(numpy.dot(values, values)))
    if not math.isfinite(norm):
        raise InvalidRequestError("embedding contains NaN or Inf values")
    if len(kept) == len(row) and abs(norm - 1) < _UNIT_TOLERANCE:
        return kept  # as the engine made it
    return array("f", (values / max(norm, _SMALLEST_NORM)).astype(numpy.float32).tobytes())


def _import_numpy() -> None:
    """It takes a tenth of a second, which the event loop does not have."""
    import numpy  # noqa: F401
