"""Child processes that are coroutines: started, killed and reaped like real ones."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

# No real process has such a number: a signal that went astray would reach nobody.
_FIRST_PID = 1 << 30
_KILLED = -int(signal.SIGKILL)


class Child:
    """A process as it sees itself: lines come in, bytes go out."""

    def __init__(self, pid: int, transport: SimProcess) -> None:
        self.pid = pid
        self._transport = transport
        self._input = b""
        self._has_input = asyncio.Event()
        self.is_input_closed = False
        self.code: int | None = None
        # What it does on a SIGKILL: the seconds until it is gone.
        self.dying_s = 0.0
        self.on_end: Callable[[], None] = lambda: None

    async def line(self) -> bytes:
        """The next line of its input; empty at the end."""
        while b"\n" not in self._input and not self.is_input_closed:
            self._has_input.clear()
            await self._has_input.wait()
        line, _, self._input = self._input.partition(b"\n")
        return line

    def feed(self, data: bytes) -> None:
        self._input += data
        self._has_input.set()

    def close_input(self) -> None:
        self.is_input_closed = True
        self._has_input.set()

    def say(self, data: bytes, *, to: int = 1) -> None:
        """Write to stdout (1) or stderr (2)."""
        if self.code is None:
            self._transport.say(to, data)

    def exit(self, code: int) -> None:
        """End by itself, or because it was killed."""
        if self.code is None:
            self.code = code
            self.on_end()
            self._transport.end(code)


class SimProcess(asyncio.SubprocessTransport):
    """What asyncio's `Process` holds."""

    def __init__(self, loop: VirtualLoop, pid: int, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._pid = pid
        self._protocol = protocol
        self._code: int | None = None
        self._waiters: list[asyncio.Future[int]] = []
        self.child = Child(pid, self)
        self._pipes = {0: _Pipe(self.child), 1: _Pipe(self.child), 2: _Pipe(self.child)}

    def say(self, to: int, data: bytes) -> None:
        self._loop.call_soon(self._protocol.pipe_data_received, to, data)

    def end(self, code: int) -> None:
        for fd in (1, 2):
            self._loop.call_soon(self._protocol.pipe_connection_lost, fd, None)
        self._loop.call_soon(self._reap, code)

    def _reap(self, code: int) -> None:
        self._code = code
        self._protocol.process_exited()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(code)

    def get_pid(self) -> int:
        return self._pid

    def get_returncode(self) -> int | None:
        return self._code

    def get_pipe_transport(self, fd: int) -> Any:
        return self._pipes[fd]

    async def _wait(self) -> int:
        if self._code is not None:
            return self._code
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._waiters.append(waiter)
        return await waiter

    def close(self) -> None:
        """The pipes end with the child."""

    def is_closing(self) -> bool:
        return self._code is not None


class _Pipe(asyncio.Transport):
    def __init__(self, child: Child) -> None:
        super().__init__()
        self._child = child

    def write(self, data: Any) -> None:
        self._child.feed(bytes(data))

    def close(self) -> None:
        self._child.close_input()

    def is_closing(self) -> bool:
        return self._child.is_input_closed

    def pause_reading(self) -> None:
        """A child here says little."""

    def resume_reading(self) -> None:
        """As above."""


Main = Callable[[Child], Coroutine[Any, Any, None]]


class Processes:
    """All children of a world. `main` is what each of them does; the world sets it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._next_pid = _FIRST_PID
        self.children: dict[int, Child] = {}
        self.main: Main | None = None
        self.on_kill: Callable[[Child], None] = lambda _child: None
        # Raised by the next start, once.
        self.refusal: OSError | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def living(self) -> list[Child]:
        return [child for child in self.children.values() if child.code is None]

    async def spawn(
        self, protocol_factory: Callable[[], Any], _command: tuple[str, ...], _options: dict[str, Any]
    ) -> tuple[SimProcess, Any]:
        if (refusal := self.refusal) is not None:
            self.refusal = None
            raise refusal
        await asyncio.sleep(0.001)
        self._next_pid += 1
        protocol = protocol_factory()
        transport = SimProcess(self._loop, self._next_pid, protocol)
        protocol.connection_made(transport)
        child = self.children[transport.get_pid()] = transport.child
        assert self.main is not None
        self._tasks[child.pid] = self._loop.create_task(self._run(child, self.main))
        return transport, protocol

    async def _run(self, child: Child, main: Main) -> None:
        await main(child)
        child.exit(0)

    def killpg(self, pid: int, _signal: int) -> None:
        """`os.killpg`, for children of the simulation alone."""
        child = self.children[pid]
        if child.code is not None:
            raise ProcessLookupError
        self.on_kill(child)
        if child.dying_s:
            self._loop.call_later(child.dying_s, self.kill, child)
        else:
            self.kill(child)

    def kill(self, child: Child) -> None:
        if child.code is None:
            self._tasks[child.pid].cancel()
            child.exit(_KILLED)
