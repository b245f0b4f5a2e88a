"""A runner for a caller whose tokens are limited: they are set aside before a call, and counted after it."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from corral import allowance
from corral.allowance import Allowance
from corral.runner.interface import CompletionRequest, Piece, Runner, TokenScores

# What the vision parts of models make of an image at most.
_IMAGE_TOKENS = 4096
# Around texts, and between a query and a document.
_FRAME_TOKENS = 8


def metered(runner: Runner) -> Runner:
    """The runner for the caller of this task; the same one for a caller without limits."""
    limit = allowance.current()
    return runner if limit is None else MeteredRunner(runner, limit)


class MeteredRunner:
    """The calls that use tokens; everything else is the runner's own."""

    def __init__(self, runner: Runner, limit: Allowance) -> None:
        self._runner = runner
        self._limit = limit
        self.spec, self.exited = runner.spec, runner.exited
        self.facts = runner.facts
        self.tokenize, self.tokenize_many = runner.tokenize, runner.tokenize_many
        self.tokenize_pieces, self.detokenize = runner.tokenize_pieces, runner.detokenize
        self.ping, self.keep_prompts, self.close = runner.ping, runner.keep_prompts, runner.close

    @property
    def running_count(self) -> int:
        return self._runner.running_count

    @property
    def waiting_count(self) -> int:
        return self._runner.waiting_count

    @property
    def context_ratio(self) -> float:
        return self._runner.context_ratio

    @property
    def turn_bytes(self) -> int:
        return self._runner.turn_bytes

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        prompt_count = await self._count(request.prompt, request.images)
        reservation = self._limit.reserve(prompt_count, request.sampling.num_predict)
        spent = _Spent(prompt_count)
        try:
            sampling = replace(request.sampling, num_predict=reservation.predict)
            async with self._runner.complete(replace(request, sampling=sampling)) as pieces:
                spent.has_begun = True
                yield _counted(pieces, spent)
        finally:
            reservation.settle(spent.count)

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], *, is_continued: bool = False
    ) -> tuple[list[array[float]], int]:
        reservation = self._limit.reserve(await self._count_all(inputs), 0)
        used = 0
        try:
            rows, used = await self._runner.embed(inputs, is_continued=is_continued)
            return rows, used
        finally:
            reservation.settle(used)

    async def rerank(
        self, query: str, documents: Sequence[str], *, is_continued: bool = False
    ) -> tuple[list[float], int]:
        query_count = await self._count(query, ())
        counts = await self._count_all(documents)
        reservation = self._limit.reserve(counts + (query_count + _FRAME_TOKENS) * len(documents), 0)
        used = 0
        try:
            scores, used = await self._runner.rerank(query, documents, is_continued=is_continued)
            return scores, used
        finally:
            reservation.settle(used)

    async def score(
        self,
        prompt: str | list[int],
        tokens: Sequence[int],
        images: Sequence[bytes] = (),
        *,
        is_continued: bool = False,
    ) -> TokenScores:
        reservation = self._limit.reserve(await self._count(prompt, images), 1)
        used = 0
        try:
            scores = await self._runner.score(prompt, tokens, images, is_continued=is_continued)
            used = scores.prompt_count + scores.predicted_count
            return scores
        finally:
            reservation.settle(used)

    async def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        # The engine makes the prompts itself: their length is known afterwards.
        reservation = self._limit.reserve(1, 0)
        used = 0
        try:
            answer = await self._runner.decide(body)
            used = int(answer.get("usage", {}).get("input_tokens", 0))
            return answer
        finally:
            reservation.settle(used)

    async def _count(self, prompt: str | list[int], images: Sequence[bytes]) -> int:
        count = len(
            prompt if isinstance(prompt, list) else await self._runner.tokenize(prompt, add_special=True)
        )
        return min(count + len(images) * _IMAGE_TOKENS, max(self.facts.num_ctx, 1))

    async def _count_all(self, inputs: Sequence[str] | Sequence[Sequence[int]]) -> int:
        texts = [entry for entry in inputs if isinstance(entry, str)]
        counts = [len(entry) for entry in inputs if not isinstance(entry, str)]
        counts += [len(tokens) for tokens in await self._runner.tokenize_many(texts)]
        return sum(counts) + _FRAME_TOKENS * len(texts)


class _Spent:
    """What a completion has used: its end says it exactly; before that, the prompt and what came of the answer."""

    def __init__(self, prompt_count: int) -> None:
        self.has_begun = False
        self._prompt_count = prompt_count
        self._streamed = 0
        self._final: int | None = None

    def note(self, pieces: list[Piece]) -> None:
        self._streamed += len(pieces)
        if pieces and (final := pieces[-1].final) is not None:
            self._final = final.prompt_count + final.predicted_count

    @property
    def count(self) -> int:
        if self._final is not None:
            return self._final
        return self._prompt_count + self._streamed if self.has_begun else 0


async def _counted(pieces: AsyncIterator[list[Piece]], spent: _Spent) -> AsyncIterator[list[Piece]]:
    async for some in pieces:
        spent.note(some)
        yield some
