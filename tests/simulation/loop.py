"""An event loop whose time is a number. Time passes only when everything waits for it, so minutes cost nothing.

The same seed gives the same order of everything, in every process: tasks and futures have numbers as their hashes,
because sets of them are walked through in the order of hashes, and the usual hash is an address.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Coroutine, Generator, Iterable
from random import Random
from typing import Any

from tests.simulation.disk import Disk
from tests.simulation.network import Network, SimTransport
from tests.simulation.processes import Processes
from tests.simulation.threads import Threads

BEGIN_S = 1_000.0
# The wall clock at the beginning, somewhere in a day.
EPOCH_S = 1_767_000_000.0
# A world that needs more steps goes round in circles.
_MAX_STEPS = 300_000
_SMALL_S = 1e-9


class StuckError(Exception):
    """Everything waits, and nothing will ever happen."""


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its number."""

    number: int

    def __new__(cls, *_args: Any, loop: VirtualLoop, **_options: Any) -> SimTask:
        task = super().__new__(cls)
        task.number = next(loop.numbers)
        return task

    def __hash__(self) -> int:
        return self.number


class SimFuture(asyncio.Future[Any]):
    """The same for futures."""

    def __init__(self, *, loop: VirtualLoop) -> None:
        self.number = next(loop.numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class _Clock:
    """In the place of a selector: instead of waiting it moves the time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._steps = 0

    def select(self, timeout: float | None) -> list[Any]:
        self._steps += 1
        if timeout is None:
            raise StuckError("everything waits, and nothing will ever happen")
        if self._steps > _MAX_STEPS:
            raise StuckError(f"no end after {_MAX_STEPS} steps")
        self._loop.now_s += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`network`, `processes` and `threads` are what the simulated code meets in place of the machine's."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.now_s = BEGIN_S
        self.numbers = itertools.count(1)
        self.chance = chance
        self.epoch_s = EPOCH_S
        self._selector = _Clock(self)
        self._clock_resolution = _SMALL_S
        self.threads = Threads(self)
        self.network = Network(self)
        self.processes = Processes(self)
        self.disk = Disk()
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self.now_s

    def clock_ns(self) -> int:
        """The monotonic clock of the simulated code."""
        return round(self.now_s * 1e9)

    def wall_s(self) -> float:
        """The wall clock of the simulated code."""
        return self.epoch_s + self.now_s - BEGIN_S

    # What asyncio asks of a loop.

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(loop=self)

    def _process_events(self, _events: Iterable[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """In a thread that begins a little later."""
        future = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except BaseException as error:
                self.call_soon(_settle, future, None, error)
            else:
                self.call_soon(_settle, future, result, None)

        self.threads.begin(work)
        return future

    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], path: str
    ) -> tuple[SimTransport, Any]:
        return await self._connect(protocol_factory, path)

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: str, port: int, **_options: Any
    ) -> tuple[SimTransport, Any]:
        return await self._connect(protocol_factory, f"{host}:{port}")

    async def _connect(self, protocol_factory: Callable[[], Any], address: str) -> tuple[SimTransport, Any]:
        end = await self.network.connect(address)
        protocol = protocol_factory()
        transport = SimTransport(self, end, protocol)
        protocol.connection_made(transport)
        end.open(transport.take, transport.lose)
        return transport, protocol

    async def subprocess_exec(
        self, protocol_factory: Callable[[], Any], *command: str, **options: Any
    ) -> tuple[Any, Any]:
        return await self.processes.spawn(protocol_factory, command, options)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> SimTask:
    assert isinstance(loop, VirtualLoop)
    return SimTask(coro, loop=loop, context=context)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
