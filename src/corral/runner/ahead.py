"""What goes ahead of a request: a state from disk, and steps of a long prompt beside the streams of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from corral.runner.interface import CompletionRequest, Final
from corral.runner.llama_server import too_long
from corral.runner.prompt_states import Prompt, SavedPrompt, shared_length
from corral.runner.recent import RecentPrompts
from corral.runner.slots import Slots
from corral.runner.steps import Steps

# The engine finds a slot by how much of a request it holds: a tenth at least.
_REACH = 9
# Fewer letters or tokens that are shared are not worth a request of their own.
_FAR = 1024
# Of dense text: short prompts are not made into tokens for nothing.
_LETTERS_OF_A_TOKEN = 3
# Of fewer, each takes much longer than of many.
_TELLING_TOKENS = 16
# Even a step gets a token at its end.
_FIRST_BEST = {"temperature": 0, "samplers": ["top_k"], "top_k": 1}

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]
Tokenize = Callable[[str], Awaitable[list[int]]]


@dataclass(slots=True, eq=False)
class UnderWay:
    """A completion. `restored`: what was read from disk for it. `has_begun`: it has had its first token.

    `cached_count` is what the first step that went ahead of it found, None without steps. `read_count` is how much of
    the prompt the engine has by now, `found_count` what of it was computed before,
    `said_count` how many tokens of the answer came.
    """

    request: CompletionRequest
    restored: SavedPrompt | None = None
    has_begun: bool = False
    computed_ms: float = 0.0
    cached_count: int | None = None
    read_count: int = 0
    found_count: int = 0
    said_count: int = 0

    def note_progress(self, progress: dict[str, Any]) -> None:
        """What the engine says while it computes the prompt."""
        self.read_count = progress["processed"]
        found = progress["cache"] if self.cached_count is None else min(self.cached_count, progress["cache"])
        self.found_count = min(found, self.read_count)


class Ahead:
    """For one runner. `kept`: states on disk, if there are any; `ask` posts to it; `others` counts other requests."""

    def __init__(
        self,
        kept: Slots | None,
        *,
        num_ctx: Callable[[], int],
        ask: Ask,
        tokenize: Tokenize,
        others: Callable[[], int],
        steps: Steps | None = None,
    ) -> None:
        self.kept = kept
        self._num_ctx = num_ctx
        self._ask = ask
        self._tokenize = tokenize
        self._others = others
        self._steps = steps or Steps()
        self._recent = RecentPrompts()
        self._running: set[UnderWay] = set()
        self._streams = 0

    async def begin(self, under_way: UnderWay) -> Prompt:
        """Called with a slot in hand; what to send. `leave` follows, whatever comes of it.

        Raises:
            ContextOverflowError: the prompt does not fit.
            EngineError, RunnerExitedError
        """
        request, prompt = under_way.request, under_way.request.prompt
        self._running.add(under_way)
        if request.images or not request.sampling.cache_prompt:
            return prompt
        shared = self._recent.note(prompt)
        if self.kept is not None:
            under_way.restored = await self.kept.prepare(prompt)
            if under_way.restored is not None:
                shared = max(shared, shared_length(under_way.restored.prompt, prompt))
        is_far = shared >= _FAR and len(prompt) > _REACH * shared
        unit = _LETTERS_OF_A_TOKEN if isinstance(prompt, str) else 1
        if not is_far and not self._is_worth_it((len(prompt) - shared) // unit, shared // unit):
            return prompt
        return await self._step_by_step(under_way, shared)

    def _is_worth_it(self, left: int, before: int) -> bool:
        return self._steps.is_worth_it(left, self._streams, self._others(), before)

    async def _step_by_step(self, under_way: UnderWay, shared: int) -> list[int]:
        prompt = under_way.request.prompt
        tokens = await self._tokenize(prompt) if isinstance(prompt, str) else prompt
        if len(tokens) > self._num_ctx():
            raise too_long(len(tokens), self._num_ctx())
        if len(tokens) == self._num_ctx():
            return tokens  # no room is left for an answer: the engine says so at once
        # A step that is shorter than what is cached would throw the rest away.
        end = shared
        if isinstance(prompt, str) and shared:
            end = len(tokens) if shared == len(prompt) else len(await self._tokenize(prompt[:shared]))
        while (left := len(tokens) - end) > 0:
            is_far = end >= _FAR // 4 and len(tokens) > _REACH * end
            if not is_far and not self._is_worth_it(left, end):
                break
            step = self._steps.size(self._streams, self._others(), end)
            end += min(step, (_REACH - 1) * end if end else step)
            if end >= len(tokens):
                break
            await self._compute(under_way, tokens[:end])
        return tokens

    async def _compute(self, under_way: UnderWay, tokens: list[int]) -> None:
        """Have a step computed. The engine finds the slot: with `id_slot` and the next step waiting there, answers
        came out of another conversation's state (bench/bench_prompt_cache.py, two in 3,000)."""
        body: dict[str, Any] = {"prompt": tokens, "n_predict": 0, "cache_prompt": True, **_FIRST_BEST}
        streams = self._streams
        answer = await self._ask("/completion", body)
        timings = answer["timings"]
        under_way.computed_ms += timings["prompt_ms"]
        if under_way.cached_count is None:
            under_way.cached_count = timings["cache_n"]
        under_way.read_count = timings["cache_n"] + timings["prompt_n"]
        under_way.found_count = under_way.cached_count
        before, seconds = timings["cache_n"], timings["prompt_ms"] / 1000
        self._steps.note_step(timings["prompt_n"], seconds, before=before, streams=streams)

    def note_tokens(self, under_way: UnderWay, count: int, seconds: float) -> None:
        """Tokens of an answer have come, so long after those before."""
        under_way.said_count += count
        if not under_way.has_begun:
            under_way.has_begun = True
            self._streams += 1
        elif self._streams == len(self._running):
            self._steps.note_gap(seconds / count)

    async def end(self, under_way: UnderWay, final: Final) -> Final:
        """Note what a completion leaves in its slot; its end with what went ahead."""
        if under_way.cached_count is not None:
            final = replace(
                final,
                cached_count=min(under_way.cached_count, final.cached_count),
                prompt_duration_ns=final.prompt_duration_ns + int(under_way.computed_ms * 1e6),
            )
        elif self._streams == 1 and final.prompt_count - final.cached_count >= _TELLING_TOKENS:
            computed = final.prompt_count - final.cached_count
            self._steps.note_step(computed, final.prompt_duration_ns / 1e9, before=final.cached_count)
        under_way.read_count, under_way.found_count = final.prompt_count, final.cached_count
        request = under_way.request
        if self.kept is not None and not request.images and request.sampling.cache_prompt:
            self.kept.note(final.slot, request.prompt, final.prompt_count + final.predicted_count)
            if under_way.restored is not None:
                await self.kept.check(under_way.restored, request.prompt, final.cached_count)
        return final

    @property
    def held_tokens(self) -> int:
        """How much of the engine's context is in use, by requests that run."""
        return sum(each.read_count + each.said_count for each in self._running)

    def leave(self, under_way: UnderWay) -> None:
        """It has ended, or was given up."""
        self._running.discard(under_way)
        if under_way.has_begun:
            self._streams -= 1
