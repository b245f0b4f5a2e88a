"""Texts of many clients as one call: what waits while the engine is busy goes together when it is free.

Nobody waits for others to come: a text that finds the engine idle is sent at once. The engine reports the tokens of a
whole call. So gathered texts are made into tokens first, which counts them one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from corral.errors import CorralError, RunnerExitedError

_log = logging.getLogger("corral.runner")
# What is longer costs the engine more than a call costs by itself.
_MAX_TEXTS = 8
_MAX_BYTES = 8 << 10
_MAX_GATHERED = 256

Texts = Sequence[str] | Sequence[Sequence[int]]
Result: TypeAlias = "tuple[list[array[float]], int]"
Tokens = Callable[[Sequence[str]], Awaitable[list[list[int]]]]
Run: TypeAlias = "Callable[[Sequence[Sequence[int]]], Awaitable[list[array[float]]]]"


@dataclass(slots=True, eq=False)
class _Wait:
    inputs: Texts
    answer: asyncio.Future[Result]


class Gathering:
    """The requests that wait for one runner. `slot` is entered to have the engine; `tokens` and `run` ask it then."""

    def __init__(
        self, slot: Callable[[], AbstractAsyncContextManager[None]], tokens: Tokens, run: Run
    ) -> None:
        self._slot = slot
        self._tokens = tokens
        self._run = run
        self._waiting: deque[_Wait] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def may_join(self, inputs: Texts) -> bool:
        """Whether a request is small enough to go with others."""
        return len(inputs) <= _MAX_TEXTS and all(
            entry and (4 * len(entry) if not isinstance(entry, str) else len(entry)) <= _MAX_BYTES
            for entry in inputs
        )

    async def embed(self, inputs: Texts) -> Result:
        """Wait with the others for the engine. A request that is cancelled leaves alone.

        Raises:
            EngineError, RunnerExitedError
        """
        is_first = not self._waiting
        wait = _Wait(inputs, asyncio.get_running_loop().create_future())
        self._waiting.append(wait)
        if is_first:
            # In no request's context: what it waits for concerns all of them.
            task = asyncio.get_running_loop().create_task(
                self._serve(), name="embed-together", context=contextvars.Context()
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            return await wait.answer
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):  # it is being answered
                self._waiting.remove(wait)
            raise

    def close(self) -> None:
        """Give up those who wait."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self) -> None:
        taken: list[_Wait] = []
        try:
            while self._waiting:
                async with self._slot():
                    taken = self._take()
                    await self._answer(taken)
        finally:
            for wait in (*taken, *self._waiting):
                _fail(wait, RunnerExitedError("model runner has unexpectedly stopped"))
            self._waiting.clear()

    async def _answer(self, waiting: Sequence[_Wait]) -> None:
        """Send requests as one. If that fails, each is sent by itself: one of them is at fault."""
        for group in (waiting, *([wait] for wait in waiting)):
            left = [wait for wait in group if not wait.answer.done()]
            if not left:
                continue
            try:
                await self._send(left)
            except Exception as error:
                if len(left) == 1:
                    _fail(left[0], error)
                elif not isinstance(error, CorralError):
                    _log.exception("texts that were sent together are sent one by one")

    def _take(self) -> list[_Wait]:
        taken: list[_Wait] = []
        count = 0
        while self._waiting and (not taken or count + len(self._waiting[0].inputs) <= _MAX_GATHERED):
            taken.append(self._waiting.popleft())
            count += len(taken[-1].inputs)
        return taken

    async def _send(self, waiting: Sequence[_Wait]) -> None:
        texts = [entry for wait in waiting for entry in wait.inputs if isinstance(entry, str)]
        made = iter(await self._tokens(texts) if texts else ())
        tokens = [
            next(made) if isinstance(entry, str) else list(entry) for wait in waiting for entry in wait.inputs
        ]
        rows = await self._run(tokens)
        at = 0
        for wait in waiting:
            end = at + len(wait.inputs)
            if not wait.answer.done():
                wait.answer.set_result((rows[at:end], sum(map(len, tokens[at:end]))))
            at = end


def _fail(wait: _Wait, error: Exception) -> None:
    if not wait.answer.done():
        wait.answer.set_exception(error)
