"""The run of one completion: engine pieces in, chunks out, through the parsers for thinking and tool calls.

This is the hot path: what is done here is done for every token.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import Sequence
from dataclasses import replace

from corral import deadline, requestfacts
from corral.chat.parsing.events import OutputParser, Parsed
from corral.errors import DeadlineError
from corral.inference.requests import Emit
from corral.inference.runphases import RunPhases
from corral.inference.sofar import SoFar
from corral.inference.thinking import AnswerLimit
from corral.runner.interface import CompletionRequest, Final, Piece, Runner
from corral.types import Chunk, GenerationMetrics, ToolCall

_ID_CHARS = string.ascii_lowercase + string.digits
# ollama: llm/llama_server.go: a model that says the same thing this often in a row will not stop by itself.
_MAX_REPEATS = 100


class Stopwatch:
    """When a request came in and when it got its runner."""

    __slots__ = ("granted_ns", "started_ns")

    def __init__(self) -> None:
        self.started_ns = time.perf_counter_ns()
        self.granted_ns = self.started_ns

    def grant(self) -> None:
        self.granted_ns = time.perf_counter_ns()

    @property
    def load_ns(self) -> int:
        return self.granted_ns - self.started_ns

    @property
    def total_ns(self) -> int:
        return time.perf_counter_ns() - self.started_ns


class CompletionRun:
    """One reply under way. `text` is all that the engine said, before any parser."""

    def __init__(
        self,
        runner: Runner,
        request: CompletionRequest,
        stopwatch: Stopwatch,
        emit: Emit,
        *,
        parser: OutputParser | None = None,
        truncated_count: int = 0,
        wants_text: bool = False,
        has_repeat_guard: bool = True,
        emits_empty: bool = False,
        limit: AnswerLimit | None = None,
    ) -> None:
        self._runner = runner
        self._request = request
        self._stopwatch = stopwatch
        self._emit = emit
        self._parser = parser
        self._truncated_count = truncated_count
        self._has_repeat_guard = has_repeat_guard
        self._emits_empty = emits_empty
        self._limit = limit
        self._texts: list[str] | None = [] if wants_text else None
        self._last_text = ""
        self._repeat_count = 0
        self._has_begun = self._is_counted = False
        self._count = 0

    @property
    def text(self) -> str:
        return "".join(self._texts or ())

    async def run(self) -> Chunk | None:
        """Emit everything but the last chunk, and return that; None when the repeat guard ended the reply.

        At the deadline of the request decoding stops, and the last chunk says so.

        Raises:
            EngineError, RunnerExitedError, QueueFullError
            DeadlineError: the engine had not begun by then.
        """
        timeout = asyncio.timeout_at(deadline.current())
        so_far = SoFar.now()
        try:
            async with timeout:
                return await self._run()
        except TimeoutError:
            if not timeout.expired():
                raise
            if not self._has_begun:
                raise DeadlineError from None
            return self._cut_off(so_far)

    async def _run(self) -> Chunk | None:
        facts, phases = requestfacts.current(), RunPhases.begin(self._request.sampling)
        count, final = 0, None
        try:
            async with self._runner.complete(self._request) as batches:
                self._has_begun = True
                async for pieces in batches:
                    count += len(pieces)
                    self._count = count
                    facts.note_pieces(len(pieces))
                    chunks: list[Chunk] = []
                    is_last = self._take(pieces, chunks)
                    final = chunks.pop() if chunks and chunks[-1].done else None
                    if chunks:
                        await self._emit(chunks)
                    if is_last:
                        return final
            return None
        finally:
            if not self._is_counted:  # nobody has said how many there were
                facts.note_tokens(0, 0, count)
            if phases is not None:
                phases.end(final, count)

    def _take(self, pieces: Sequence[Piece], chunks: list[Chunk]) -> bool:
        """Add the chunks of the next pieces; whether the reply is over, with a last chunk or without."""
        for piece in pieces:
            if self._is_repeating(piece.text):
                return True
            if piece.final is not None:
                chunks.append(self._finish(piece))
                return True
            if chunk := self._feed(piece):
                chunks.append(chunk)
            if self._limit is not None and (final := self._limit.reached(piece)) is not None:
                chunks.append(self._finish(Piece("", final=final)))
                return True
        return False

    def _feed(self, piece: Piece) -> Chunk | None:
        text = piece.text
        if self._texts is not None:
            self._texts.append(text)
        if self._parser is None:
            return Chunk(text, logprobs=piece.logprobs) if text or piece.logprobs else None
        parsed = self._parser.feed(text)
        is_empty = not (parsed.content or parsed.thinking or parsed.tool_calls or piece.logprobs)
        if is_empty and not (self._emits_empty and text):
            return None
        return Chunk(parsed.content, parsed.thinking, with_ids(parsed.tool_calls), piece.logprobs)

    def _finish(self, piece: Piece) -> Chunk:
        assert piece.final is not None
        facts = requestfacts.current()
        facts.note_tokens(0, 0, piece.final.predicted_count, piece.final.predicted_duration_ns)
        facts.note_guesses(piece.final.draft_count, piece.final.draft_accepted_count)
        self._is_counted = True
        if self._texts is not None and piece.text:
            self._texts.append(piece.text)
        parsed = Parsed(piece.text)
        if self._parser is not None:
            head, tail = self._parser.feed(piece.text), self._parser.finish()
            parsed = Parsed(
                head.content + tail.content,
                head.thinking + tail.thinking,
                head.tool_calls + tail.tool_calls,
            )
        return Chunk(
            parsed.content,
            parsed.thinking,
            with_ids(parsed.tool_calls),
            piece.logprobs,
            done=True,
            done_reason=piece.final.reason,
            metrics=self._metrics(piece.final),
            truncated_count=self._truncated_count,
            stop_word=piece.final.stopping_word,
        )

    def _cut_off(self, before: SoFar) -> Chunk:
        """The last chunk of a reply whose time is up, with what the engine has read and said by then."""
        parsed = self._parser.finish() if self._parser is not None else Parsed("")
        return Chunk(
            parsed.content,
            parsed.thinking,
            with_ids(parsed.tool_calls),
            done=True,
            done_reason="deadline",
            metrics=before.metrics(
                self._count,
                total_duration_ns=self._stopwatch.total_ns,
                load_duration_ns=self._stopwatch.load_ns,
            ),
            truncated_count=self._truncated_count,
        )

    def _metrics(self, final: Final) -> GenerationMetrics:
        has_drafts = self._request.sampling.draft_counts
        return GenerationMetrics(
            total_duration_ns=self._stopwatch.total_ns,
            load_duration_ns=self._stopwatch.load_ns,
            prompt_eval_count=final.prompt_count,
            prompt_eval_duration_ns=final.prompt_duration_ns,
            eval_count=final.predicted_count,
            eval_duration_ns=final.predicted_duration_ns,
            cached_count=final.cached_count,
            draft_count=final.draft_count if has_drafts else None,
            draft_accepted_count=final.draft_accepted_count if has_drafts else None,
            waits=requestfacts.current().waits(),
        )

    def _is_repeating(self, text: str) -> bool:
        if not self._has_repeat_guard or not text:
            return False
        if text != self._last_text:
            # Pieces that differ in white space alone count as equal; most differ in the first letter.
            stripped = text.strip()
            if stripped != self._last_text.strip():
                self._repeat_count = 0
            self._last_text = text
        self._repeat_count += 1
        return self._repeat_count > _MAX_REPEATS + 1


def with_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Give every call an id as Ollama makes them: `call_` and eight letters or digits."""
    if not calls:
        return ()
    return tuple(
        replace(call, id="call_" + "".join(secrets.choice(_ID_CHARS) for _ in range(8))) for call in calls
    )
