"""Where a reply's thinking ends: at its first content, or when its budget is used up.

Such a run is followed by another one that has to answer. Ollama: server/routes.go ChatHandler (the first kind).
"""

from __future__ import annotations

from dataclasses import replace

from corral.inference.requests import Emit
from corral.types import Chunk, GenerationMetrics


class ThinkingEndedError(Exception):
    """Ends a run on purpose; never leaves the service."""


class ThinkingRun:
    """A run whose content is not wanted: `thinking` is what it thought, `has_called` whether it called a tool."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.thinking: list[str] = []
        self.has_called = False

    async def until_content(self, chunks: list[Chunk]) -> None:
        """Pass thinking and tool calls on and stop at the first content.

        Raises:
            ThinkingEndedError: there was content, and no call before it.
        """
        for chunk in chunks:
            if chunk.thinking:
                self.thinking.append(chunk.thinking)
            self.has_called = self.has_called or bool(chunk.tool_calls)
            if chunk.content:
                if chunk.thinking:
                    await self._emit([Chunk(thinking=chunk.thinking)])
                raise ThinkingEndedError
            await self._emit([chunk])


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


def counted_whole(final: Chunk, prompt_count: int) -> Chunk:
    """The end of a second run with counts of both: what follows a prompt of `prompt_count` tokens is the reply."""
    metrics = final.metrics or GenerationMetrics()
    answer_count = metrics.prompt_eval_count - prompt_count + metrics.eval_count
    final.metrics = replace(
        metrics,
        prompt_eval_count=prompt_count,
        eval_count=max(answer_count, metrics.eval_count),
        cached_count=min(metrics.cached_count, prompt_count),
    )
    return final
