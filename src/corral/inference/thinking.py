"""Where a reply's thinking ends: at its closing tag or first content, or when its budget is used up.

What ends there without an answer is followed by another run that has to answer. Ollama: server/routes.go ChatHandler.
"""

from __future__ import annotations

import time
from dataclasses import replace

from corral.chat.parsing.answers import AnswerReader
from corral.inference.requests import Emit
from corral.runner.interface import Final, Piece
from corral.types import Chunk, GenerationMetrics


class ThinkingEndedError(Exception):
    """Ends a run on purpose; never leaves the service."""


class ThinkingRun:
    """A run that may need another one: `thinking` is what it thought, `has_called` whether it called a tool."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._started_ns = time.perf_counter_ns()
        self._first_ns = 0
        self.thinking: list[str] = []
        self.has_called = False

    async def pass_on(self, chunks: list[Chunk]) -> None:
        """Pass everything on."""
        self._note(chunks)
        await self._emit(chunks)

    async def until_content(self, chunks: list[Chunk]) -> None:
        """Pass thinking and tool calls on and stop at the first content.

        Raises:
            ThinkingEndedError: there was content, and no call before it.
        """
        for chunk in chunks:
            self._note([chunk])
            if chunk.content:
                if chunk.thinking:
                    await self._emit([Chunk(thinking=chunk.thinking)])
                raise ThinkingEndedError
            await self._emit([chunk])

    def _note(self, chunks: list[Chunk]) -> None:
        self._first_ns = self._first_ns or time.perf_counter_ns()
        for chunk in chunks:
            if chunk.thinking:
                self.thinking.append(chunk.thinking)
            self.has_called = self.has_called or bool(chunk.tool_calls)

    def durations_ns(self, final: Chunk | None) -> tuple[int, int]:
        """How long the prompt and the thinking took: as the end says, or by the clock if there was none."""
        if final is not None and final.metrics is not None:
            return final.metrics.prompt_eval_duration_ns, final.metrics.eval_duration_ns
        now_ns = time.perf_counter_ns()
        first_ns = self._first_ns or now_ns
        return first_ns - self._started_ns, now_ns - first_ns


def within_budget(emit: Emit, thinking: list[str], budget: int) -> Emit:
    """Pass everything on and stop when there were `budget` pieces of thinking; a piece is a token, nearly always."""

    async def pass_on(chunks: list[Chunk]) -> None:
        for i, chunk in enumerate(chunks):
            if not chunk.thinking:
                continue
            thinking.append(chunk.thinking)
            if len(thinking) >= budget and not (chunk.content or chunk.tool_calls or chunk.done):
                await emit(chunks[: i + 1])
                raise ThinkingEndedError
        await emit(chunks)

    return pass_on


def counted_whole(final: Chunk, prompt_count: int, prompt_ns: int = 0, eval_ns: int = 0) -> Chunk:
    """The end of a second run with counts of both: what follows a prompt of `prompt_count` tokens is the reply.

    `prompt_ns` and `eval_ns`: how long the prompt and the reply took in the first run.
    """
    metrics = final.metrics or GenerationMetrics()
    answer_count = metrics.prompt_eval_count - prompt_count + metrics.eval_count
    final.metrics = replace(
        metrics,
        prompt_eval_count=prompt_count,
        prompt_eval_duration_ns=metrics.prompt_eval_duration_ns + prompt_ns,
        eval_count=max(answer_count, metrics.eval_count),
        eval_duration_ns=metrics.eval_duration_ns + eval_ns,
        cached_count=min(metrics.cached_count, prompt_count),
    )
    return final


class AnswerLimit:
    """`num_predict` tokens of thinking, and as many again of the answer.

    The engine counts both together. What it says about each piece tells how many tokens there were.
    """

    def __init__(self, limit: int, reader: AnswerReader) -> None:
        self._limit = limit
        self._reader = reader
        self._thought = 0
        self._count = 0

    def reached(self, piece: Piece) -> Final | None:
        """The end of the reply if `piece`, which has been read, was the last one that may be."""
        so_far = piece.so_far
        self._count = self._count + 1 if so_far is None else so_far.predicted_count
        if not self._reader.has_begun:
            self._thought = self._count
            is_reached = self._count >= self._limit
        else:
            is_reached = self._count - self._thought >= self._limit
        if not is_reached:
            return None
        return so_far or Final("length", 0, 0, 0, self._count, 0)
