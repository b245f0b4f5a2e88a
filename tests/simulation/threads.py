"""Threads, locks and clocks for code that blocks: greenlets that the virtual loop resumes, one at a time.

A thread runs until it waits for something; what wakes it is a callback of the loop, so time and order are the loop's.
Taking a lock and asking for the time may let others go first, as it may in real threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import greenlet

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

# How often a thread that takes a lock lets others go first.
_YIELDS = 0.05
_LATEST_BEGIN_S = 0.002
MAIN_ID = 1


class LoopBlockedError(BaseException):
    """The event loop would have to wait for a thread."""


class Waiter:
    """One thread that waits, until it is woken or its time is up."""

    __slots__ = ("_green", "_threads", "_timer", "is_over", "was_woken")

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._green: greenlet.greenlet = greenlet.getcurrent()
        self._timer: Any = None
        self.is_over = self.was_woken = False

    def wait(self, timeout_s: float | None) -> bool:
        """Whether it was woken in time."""
        if self._green is self._threads.hub:
            raise LoopBlockedError("the event loop waits for a thread")
        if timeout_s is not None:
            self._timer = self._threads.loop.call_later(max(timeout_s, 0.0), self._end)
        self._threads.hub.switch()
        return self.was_woken

    def wake(self) -> None:
        if not self.is_over:
            self.is_over = self.was_woken = True
            if self._timer is not None:
                self._timer.cancel()
            self._threads.loop.call_soon(self._resume)

    def _end(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._resume()

    def _resume(self) -> None:
        if not self._green.dead:
            self._green.switch()


class Threads:
    """All threads of a world, beside that of the loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.hub: greenlet.greenlet = greenlet.getcurrent()
        self._living: dict[greenlet.greenlet, int] = {}
        self._count = MAIN_ID

    @property
    def count(self) -> int:
        """How many have begun and not ended."""
        return len(self._living)

    def begin(self, work: Callable[[], None]) -> int:
        """Run something in a thread of its own; returns the number of the thread."""
        self._count += 1
        number = self._count

        def main() -> None:
            try:
                work()
            finally:
                self._living.pop(green, None)

        green = greenlet.greenlet(main, self.hub)
        self._living[green] = number
        self.loop.call_later(self.loop.chance.random() * _LATEST_BEGIN_S, green.switch)
        return number

    def next_number(self) -> int:
        """Of an object that is made now."""
        return next(self.loop.numbers)

    def ident(self) -> int:
        """The number of the thread that asks."""
        return self._living.get(greenlet.getcurrent(), MAIN_ID)

    def sleep(self, seconds: float) -> None:
        Waiter(self).wait(seconds)

    def maybe_yield(self) -> None:
        """Let others go first now and then. The loop's own thread never does."""
        if greenlet.getcurrent() is not self.hub and self.loop.chance.random() < _YIELDS:
            self.sleep(0.0)

    def end_all(self) -> None:
        """End those that are left."""
        for green in list(self._living):
            if green:
                green.throw()  # GreenletExit
        self._living.clear()


class Lock:
    """`threading.Lock`."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._is_held = False
        self._waiters: deque[Waiter] = deque()

    def acquire(self) -> bool:
        self._threads.maybe_yield()
        while self._is_held:
            waiter = Waiter(self._threads)
            self._waiters.append(waiter)
            waiter.wait(None)
        self._is_held = True
        return True

    def release(self) -> None:
        self._is_held = False
        if self._waiters:
            self._waiters.popleft().wake()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Condition(Lock):
    """`threading.Condition` with its own lock."""

    def __init__(self, threads: Threads) -> None:
        super().__init__(threads)
        self._sleepers: deque[Waiter] = deque()

    def wait(self, timeout: float | None = None) -> bool:
        waiter = Waiter(self._threads)
        self._sleepers.append(waiter)
        self.release()
        try:
            return waiter.wait(timeout)
        finally:
            if waiter in self._sleepers:
                self._sleepers.remove(waiter)
            self.acquire()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        end_s = None if timeout is None else self._threads.loop.time() + timeout
        while not (result := predicate()):
            left_s = None if end_s is None else end_s - self._threads.loop.time()
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
        return result

    def notify(self, n: int = 1) -> None:
        for _ in range(min(n, len(self._sleepers))):
            self._sleepers.popleft().wake()

    def notify_all(self) -> None:
        self.notify(len(self._sleepers))


class Event:
    """`threading.Event`."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._is_set = False
        self._waiters: list[Waiter] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if self._is_set:
            return True
        waiter = Waiter(self._threads)
        self._waiters.append(waiter)
        waiter.wait(timeout)
        return self._is_set


class Thread:
    """`threading.Thread`."""

    def __init__(
        self,
        threads: Threads,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
        *,
        daemon: bool = False,
    ) -> None:
        self._threads = threads
        self._work: Callable[[], Any] = lambda: target(*args, **(kwargs or {}))
        self._ended = Event(threads)
        self.name, self.daemon = name, daemon
        self.number = threads.next_number()
        self.ident: int | None = None

    def start(self) -> None:
        self.ident = self._threads.begin(self._run)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended.set()

    def is_alive(self) -> bool:
        return self.ident is not None and not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)
