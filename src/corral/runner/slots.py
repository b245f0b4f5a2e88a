"""What lies in the slots of one engine, and how it is brought back from disk and put there.

The engine finds by itself which slot begins like a prompt. This only gives it more to choose from: before a long
prompt is sent that no slot begins like, a saved state is read into an empty slot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral.errors import CorralError, EngineError
from corral.runner.prompt_states import Prompt, PromptStates, SavedPrompt, shared_length

_log = logging.getLogger("corral.prompts")
# A prompt with fewer tokens is computed nearly as fast as its state is read.
_LEAST_TOKENS = 512
# Of ordinary text: fewer letters cannot be that many tokens.
_LEAST_LETTERS = 1024
_RESTORE_TIMEOUT_S = 5.0
# The last token of an answer is not in the cache, nor what was cut from its end.
_COUNT_TOLERANCE = 2

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]
Unused = Callable[[], Awaitable[list[int]]]


@dataclass(slots=True)
class _Slot:
    """`prompt`: what was computed in it last; `saved`: the state on disk that says the same."""

    prompt: Prompt = ""
    token_count: int = 0
    saved: SavedPrompt | None = None


class Slots:
    """Everything here may fail without harm: a prompt is computed again then.

    `ask` posts a body to the engine; `unused` gives the slots that are idle and have had no request yet.
    """

    def __init__(self, count: int, states: PromptStates, folder: Path, ask: Ask, unused: Unused) -> None:
        self._slots = [_Slot() for _ in range(count)]
        self._states = states
        self._folder = folder
        self._ask = ask
        self._unused = unused
        self._saved: list[SavedPrompt] | None = None
        self._reading: set[int] = set()

    async def prepare(self, prompt: Prompt) -> SavedPrompt | None:
        """Read the state that a prompt begins like, if no slot does as well; what was read."""
        if len(prompt) < (_LEAST_LETTERS if isinstance(prompt, str) else _LEAST_TOKENS):
            return None
        if self._saved is None:
            self._saved = await asyncio.to_thread(self._states.saved, self._folder)
        best = max(self._saved, key=lambda state: shared_length(state.prompt, prompt), default=None)
        if best is None:
            return None
        length = shared_length(best.prompt, prompt)
        in_slots = max(shared_length(slot.prompt, prompt) for slot in self._slots)
        # Less than half of it would be computed again for the most part.
        if length <= in_slots or 2 * length < len(best.prompt):
            return None
        try:
            async with asyncio.timeout(_RESTORE_TIMEOUT_S):
                return best if await self._restore(best) else None
        except (CorralError, TimeoutError, KeyError, TypeError, ValueError) as exc:
            _log.info("a kept prompt was not read: %s", str(exc)[:300])
            if isinstance(exc, EngineError):
                await self._remove(best)
            return None

    async def _restore(self, state: SavedPrompt) -> bool:
        """Read a state into a slot that is of no other use; False where there is none."""
        free = [number for number in await self._unused() if number not in self._reading]
        number = next((n for n in free if n < len(self._slots) and not self._slots[n].token_count), None)
        if number is None:
            return False
        self._reading.add(number)
        try:
            answer = await self._ask(f"/slots/{number}?action=restore", {"filename": state.path.name})
        finally:
            self._reading.discard(number)
        if answer["n_restored"] != state.token_count:
            await self._remove(state)
            return False
        self._slots[number] = _Slot(state.prompt, state.token_count, state)
        await asyncio.to_thread(self._states.touch, state)
        return True

    async def _remove(self, state: SavedPrompt) -> None:
        self._saved = [other for other in self._saved or () if other is not state]
        await asyncio.to_thread(self._states.forget, state)

    async def check(self, restored: SavedPrompt, prompt: Prompt, cached_count: int) -> None:
        """Remove a state that the engine read but did not use, if nobody else has used its slot."""
        if all(slot.saved is not restored for slot in self._slots):
            return
        expected = (
            restored.token_count
            * shared_length(restored.prompt, prompt)
            // (2 * max(len(restored.prompt), 1))
        )
        if cached_count < min(expected, _LEAST_TOKENS // 2):
            _log.info("a kept prompt was of no use and is removed: %d tokens of it were reused", cached_count)
            await self._remove(restored)

    def note(self, number: int, prompt: Prompt, token_count: int) -> None:
        """A completion has ended in a slot."""
        if 0 <= number < len(self._slots):
            slot = self._slots[number]
            saved = slot.saved if slot.prompt == prompt else None
            self._slots[number] = _Slot(prompt, token_count, saved)

    async def save(self, bytes_per_token: int) -> None:
        """Write what is worth it. Called when nobody waits for the engine, before it ends."""
        for number, slot in enumerate(self._slots):
            if slot.token_count >= _LEAST_TOKENS and slot.saved is None:
                await self._save(number, slot, bytes_per_token)

    async def _save(self, number: int, slot: _Slot, bytes_per_token: int) -> None:
        path = None
        try:
            if not await asyncio.to_thread(self._states.has_room, slot.token_count * bytes_per_token):
                return
            path = await asyncio.to_thread(self._states.new_path, self._folder)
            answer = await self._ask(f"/slots/{number}?action=save", {"filename": path.name})
            count = int(answer["n_saved"])
            if abs(count - slot.token_count) > _COUNT_TOLERANCE:
                raise ValueError(f"the slot holds {count} tokens, not {slot.token_count}: something else")
            await asyncio.to_thread(self._states.keep, path, slot.prompt, count)
            _log.info("prompt kept on disk tokens=%d bytes=%d", count, answer.get("n_written", 0))
        except (CorralError, OSError, KeyError, TypeError, ValueError) as exc:
            _log.info("a prompt is not kept: %s", str(exc)[:300])
            self._discard(path)
        except BaseException:
            self._discard(path)
            raise

    def _discard(self, path: Path | None) -> None:
        if path is not None:
            self._states.forget(SavedPrompt(path, "", 0))
