"""Texts of many clients as one call: what comes while the engine has enough to do goes together when it is done.

Nobody waits for others to come: a text that finds a free turn is sent at once. The engine reports the tokens of a
whole call. So gathered texts are made into tokens first, which counts them one by one.

Who goes first is decided by a line, as for slots. Each class and key that waits here has a task that stands for all
of its requests where turns are given out; whichever gets a turn takes those who are next here, whoever they are.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from corral import caller
from corral.caller import Caller
from corral.errors import CorralError, QueueFullError, RunnerExitedError
from corral.line import Line, Turn
from corral.runner.pace import Step
from corral.supervise import log_failure

_log = logging.getLogger("corral.runner")
# What is longer costs the engine more than a call costs by itself.
_MAX_TEXTS = 8
_MAX_BYTES = 1 << 10
_MAX_GATHERED = 256

Texts = Sequence[str] | Sequence[Sequence[int]]
Result: TypeAlias = "tuple[list[array[float]], int]"
Tokens = Callable[[Sequence[str]], Awaitable[list[list[int]]]]
Run: TypeAlias = "Callable[[Sequence[Sequence[int]]], Awaitable[list[array[float]]]]"


@dataclass(slots=True, eq=False)
class _Wait:
    inputs: Texts
    answer: asyncio.Future[Result]
    who: Caller


class Gathering:
    """The requests that wait for one runner.

    `turn` is entered to have the engine; `tokens` and `run` ask it then. `turn_bytes`: how much one call should hold;
    `slots`: how many texts the engine computes together.
    """

    def __init__(
        self,
        turn: Callable[[], AbstractAsyncContextManager[None]],
        tokens: Tokens,
        run: Run,
        *,
        turn_bytes: Callable[[], int],
        slots: int = 1,
    ) -> None:
        self._turn = turn
        self._tokens = tokens
        self._run = run
        self._turn_bytes = turn_bytes
        self._slots = slots
        self._line = Line()
        self._waiting: dict[Turn, _Wait] = {}
        # Classes and shares for which a task waits for a turn.
        self._represented: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def may_join(self, inputs: Texts) -> bool:
        """Whether a request is small enough to go with others."""
        return len(inputs) <= _MAX_TEXTS and all(
            entry and _size_bytes(entry) <= _MAX_BYTES for entry in inputs
        )

    async def embed(self, inputs: Texts) -> Result:
        """Wait with the others for the engine. A request that is cancelled leaves alone.

        Raises:
            EngineError, RunnerExitedError
        """
        who = caller.current()
        turn = Turn(who.priority, who.share)
        wait = _Wait(inputs, asyncio.get_running_loop().create_future(), who)
        self._line.join(turn, time.monotonic_ns())
        self._waiting[turn] = wait
        self._represent(turn, who)
        try:
            return await wait.answer
        except asyncio.CancelledError:
            if turn in self._waiting:  # else it is being answered
                self._leave(turn)
            raise

    def make_way(self) -> None:
        """Turn somebody away who is less urgent than the caller, or has more requests here.

        Raises:
            QueueFullError: there is nobody like that.
        """
        who = caller.current()
        other = self._line.give_way(who.priority, who.share)
        if other is None:
            raise QueueFullError
        _fail(self._leave(other), QueueFullError())

    def close(self) -> None:
        """Give up those who wait."""
        for task in self._tasks:
            task.cancel()

    def _leave(self, turn: Turn) -> _Wait:
        self._line.leave(turn)
        return self._waiting.pop(turn)

    def _represent(self, turn: Turn, who: Caller) -> None:
        """Have a task wait for a turn in this one's class and share."""
        kind = (turn.priority, turn.share)
        if kind in self._represented:
            return
        self._represented.add(kind)
        # In no request's context: what it waits for concerns all of them. Its place is that of its first one.
        context = contextvars.Context()
        context.run(caller.begin, who)
        task = asyncio.get_running_loop().create_task(
            self._serve(kind), name="embed-together", context=context
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_failure)

    async def _serve(self, kind: tuple[str, str]) -> None:
        taken: list[_Wait] = []
        try:
            async with self._turn():
                self._represented.discard(kind)
                taken = self._take()
                for turn, wait in self._waiting.items():
                    self._represent(turn, wait.who)
                await self._answer(taken)
        except BaseException:
            # Nobody is left to serve those who wait.
            self._represented.discard(kind)
            taken += [self._leave(turn) for turn in list(self._waiting)]
            raise
        finally:
            for wait in taken:
                _fail(wait, RunnerExitedError("model runner has unexpectedly stopped"))

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
        most_bytes = self._turn_bytes()
        step = Step(self._slots, most_bytes)
        count = size_bytes = 0
        now_ns = time.monotonic_ns()
        while (turn := self._line.first(now_ns)) is not None:
            inputs = self._waiting[turn].inputs
            sizes = [_size_bytes(entry) for entry in inputs]
            count += len(inputs)
            size_bytes += sum(sizes)
            is_full = count > _MAX_GATHERED or size_bytes > most_bytes or not step.holds(sizes[0])
            if taken and is_full:
                break
            for size in sizes:
                step.add(size)
            self._line.charge(turn, now_ns)
            taken.append(self._leave(turn))
            self._line.settle(turn, len(inputs))
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


def _size_bytes(entry: str | Sequence[int]) -> int:
    """About as long as a text, or as the text of tokens."""
    return len(entry) if isinstance(entry, str) else 4 * len(entry)


def _fail(wait: _Wait, error: Exception) -> None:
    if not wait.answer.done():
        wait.answer.set_exception(error)
