"""A number of places for those who use an engine; who finds none free waits in a line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from corral import caller
from corral.errors import QueueFullError
from corral.line import Line, Turn

_NS_PER_S = 1_000_000_000


class Places:
    """Belongs to the event loop. What a turn costs is the time for which it has its place, in seconds.

    Whoever finds a free place has no turn, and pays nothing: there is nobody to be fair to.
    """

    def __init__(self, count: int, *, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._free = count
        self._clock_ns = clock_ns
        self._line = Line()
        self._answers: dict[Turn, asyncio.Future[None]] = {}
        self._begun_ns: dict[Turn, int] = {}

    @property
    def is_full(self) -> bool:
        return not self._free

    def take(self) -> None:
        """Only where it is not full."""
        self._free -= 1

    def turn_of_caller(self, *, is_fixed: bool = False) -> Turn:
        """A turn for whoever this task works for. `is_fixed`: it has begun, and is never turned away."""
        who = caller.current()
        return Turn(who.priority, who.share, is_fixed)

    def make_way(self, turn: Turn) -> None:
        """Turn somebody away who is less urgent than this one, or of a caller with more requests.

        Raises:
            QueueFullError: there is nobody like that.
        """
        other = self._line.give_way(turn.priority, turn.share)
        if other is None:
            raise QueueFullError
        self._line.leave(other)
        answer = self._answers.pop(other)
        if not answer.done():
            answer.set_exception(QueueFullError())

    def join(self, turn: Turn) -> None:
        """The turn stands in the line from now on; `wait` has to follow at once."""
        self._answers[turn] = asyncio.get_running_loop().create_future()
        self._line.join(turn, self._clock_ns())

    async def wait(self, turn: Turn) -> None:
        """Wait for a place.

        Raises:
            QueueFullError: another turn took this one's in the line.
        """
        answer = self._answers[turn]
        try:
            await answer
        except asyncio.CancelledError:
            if self._answers.pop(turn, None) is not None:
                self._line.leave(turn)
            elif not answer.cancelled() and answer.exception() is None:
                self.give_back(turn)
            raise

    def give_back(self, turn: Turn | None) -> None:
        """The place is free, or that of the next in the line."""
        if turn is None and not self._answers:
            self._free += 1
            return
        now_ns = self._clock_ns()
        if turn is not None:
            self._line.settle(turn, (now_ns - self._begun_ns.pop(turn)) / _NS_PER_S)
        while (following := self._line.take(now_ns)) is not None:
            answer = self._answers.pop(following)
            if not answer.done():  # else it leaves in this very moment
                self._begun_ns[following] = now_ns
                answer.set_result(None)
                return
        self._free += 1
