"""The run of one completion: its last chunk, and the end of repetition."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from corral import deadline, requestfacts
from corral.inference.completion import CompletionRun, Stopwatch
from corral.runner.interface import CompletionRequest, Final, Piece, Runner
from corral.types import Chunk, SamplingOptions

FINAL = Final("stop", 3, 1, 5, 2, 7, stopping_word="HALT")


class FakeRunner:
    """Says what it is given, in batches."""

    def __init__(self, *batches: list[Piece]) -> None:
        self.batches = batches

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        async def pieces() -> AsyncIterator[list[Piece]]:
            for batch in self.batches:
                yield batch

        yield pieces()


def run(*batches: list[Piece], **settings: Any) -> tuple[list[Chunk], Chunk | BaseException | None]:
    """What was emitted, and what came of it."""
    emitted: list[Chunk] = []

    async def emit(chunks: list[Chunk]) -> None:
        assert chunks
        emitted.extend(chunks)

    request = CompletionRequest("x", SamplingOptions())
    completion = CompletionRun(cast("Runner", FakeRunner(*batches)), request, Stopwatch(), emit, **settings)
    return emitted, asyncio.run(completion.run())


def test_the_end() -> None:
    """The last chunk is given back, with the counts and the sequence that ended it."""
    emitted, final = run([Piece("a"), Piece("b")], [Piece("c"), Piece("d", final=FINAL)])
    assert "".join(chunk.content for chunk in emitted) == "abc"
    assert isinstance(final, Chunk)
    assert (final.content, final.done, final.done_reason, final.stop_word) == ("d", True, "stop", "HALT")
    assert final.metrics is not None
    assert (final.metrics.prompt_eval_count, final.metrics.cached_count) == (3, 1)


@pytest.mark.parametrize("text", ["na", " na ", "x"])
def test_repetition(text: str) -> None:
    """A hundred equal tokens after the first are passed on, whatever the white space around them."""
    pieces = [Piece(text if i % 2 else text.strip()) for i in range(500)]
    emitted, final = run(pieces[:50], pieces[50:])
    assert final is None
    assert len(emitted) == 101
    emitted, final = run(pieces, [Piece("", final=FINAL)], has_repeat_guard=False)
    assert isinstance(final, Chunk)
    assert len(emitted) == 500


def test_words_that_come_again() -> None:
    """Only a run of equal tokens counts."""
    pieces = [Piece(word) for _ in range(200) for word in ("la", "li")]
    emitted, final = run(pieces, [Piece("", final=FINAL)])
    assert isinstance(final, Chunk)
    assert len(emitted) == 400


def counted(*batches: list[Piece], leaves_after: int = 0, **settings: Any) -> tuple[int, int, int]:
    """Tokens of the reply, guessed and right ones, as the request's facts have them. The client may leave."""
    emitted: list[Chunk] = []

    async def emit(chunks: list[Chunk]) -> None:
        emitted.extend(chunks)
        if leaves_after and len(emitted) >= leaves_after:
            raise asyncio.CancelledError

    async def main() -> tuple[int, int, int]:
        facts = requestfacts.begin("1")
        request = CompletionRequest("x", SamplingOptions())
        completion = CompletionRun(
            cast("Runner", FakeRunner(*batches)), request, Stopwatch(), emit, **settings
        )
        with contextlib.suppress(asyncio.CancelledError):
            await completion.run()
        return facts.tokens, facts.guessed_tokens, facts.accepted_tokens

    return asyncio.run(main())


def test_every_token_counts_once() -> None:
    """As the engine says at the end; of a reply without one, those that came."""
    guessed = Final("stop", 3, 1, 5, 2, 7, draft_count=8, draft_accepted_count=5)
    assert counted([Piece("a"), Piece("b")], [Piece("c"), Piece("", final=guessed)]) == (2, 8, 5)
    assert counted([Piece("a"), Piece("b")], [Piece("c")], leaves_after=1) == (2, 0, 0)
    assert counted([Piece("a")], [Piece("b"), Piece("c")], leaves_after=2) == (3, 0, 0)
    # The last chunk is for the caller to emit: the reply was whole.
    assert counted([Piece("a"), Piece("b"), Piece("", final=guessed)], leaves_after=1) == (2, 8, 5)


def test_a_reply_that_repeats_counts_what_came() -> None:
    """Also if the engine's end is in the same batch, after the place where the reply was given up."""
    pieces = [Piece("na") for _ in range(150)]
    assert counted(pieces) == (150, 0, 0)
    assert counted([*pieces, Piece("", final=FINAL)])[0] == 151


class HangingRunner(FakeRunner):
    """Reads a prompt of seven tokens, three of them again, says what it is given, and then nothing for an hour."""

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        async def pieces() -> AsyncIterator[list[Piece]]:
            for batch in self.batches:
                yield batch
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            loop.time = lambda: began_s + 3600  # type: ignore[method-assign]
            await asyncio.Event().wait()

        try:
            yield pieces()
        finally:
            requestfacts.current().note_tokens(7, 3, 0)


@pytest.mark.parametrize("batches", [(), ([Piece("a"), Piece("b")], [Piece("c")])])
def test_a_reply_that_is_cut_off(batches: tuple[list[Piece], ...]) -> None:
    """It has the counts of its own run, not those of earlier ones of the same request."""

    async def emit(_chunks: list[Chunk]) -> None:
        return

    async def cut() -> Chunk | None:
        facts = requestfacts.begin("r")
        facts.note_tokens(100, 50, 20)
        deadline.tighten(600)
        runner = cast("Runner", HangingRunner(*batches))
        return await CompletionRun(runner, CompletionRequest("x", SamplingOptions()), Stopwatch(), emit).run()

    final = asyncio.run(cut())
    assert final is not None and final.metrics is not None
    assert (final.done, final.done_reason) == (True, "deadline")
    metrics = final.metrics
    counts = (metrics.prompt_eval_count, metrics.cached_count, metrics.eval_count)
    assert counts == (7, 3, 3 if batches else 0)
    assert metrics.prompt_eval_duration_ns > 0
    assert (metrics.eval_duration_ns > 0) == bool(batches)
