"""Connections inside one process: bytes arrive later, in order, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

_LEAST_S, _MOST_S = 0.0001, 0.004
_STEP_S = 1e-6
Take = Callable[[bytes], None]
Lose = Callable[[Exception | None], None]
Serve = Callable[["End"], None]


class End:
    """One end of a connection. What arrives before `open` waits."""

    def __init__(self, network: Network, address: str, latency_s: float) -> None:
        self._loop = network.loop
        self._network = network
        self.address = address
        self.other: End = self
        self._latency_s = latency_s
        self._last_s = 0.0
        self._take: Take | None = None
        self._lose: Lose | None = None
        self._early: list[bytes] = []
        self._end: tuple[Exception | None] | None = None
        self.is_closed = False
        # Whether it asked for the connection.
        self.is_client = False

    def open(self, take: Take, lose: Lose) -> None:
        self._take, self._lose = take, lose
        early, self._early = self._early, []
        for data in early:
            take(data)
        if self._end is not None:
            lose(self._end[0])

    def write(self, data: bytes) -> None:
        if not self.is_closed and data:
            self._loop.call_at(self._arrival(), self.other._arrive, bytes(data))

    def close(self, error: Exception | None = None) -> None:
        """No more from this end; the other one learns it after what was written."""
        if not self.is_closed and not self._loop.is_closed():
            self.is_closed = True
            self._network.ends.discard(self)
            self._loop.call_at(self._arrival(), self.other._arrive_end, error)

    def abort(self) -> None:
        self.close(ConnectionResetError("connection reset by peer"))

    def _arrival(self) -> float:
        at_s = self._loop.now_s + self._latency_s
        self._last_s = at_s = max(at_s, self._last_s + _STEP_S)
        return at_s

    def _arrive(self, data: bytes) -> None:
        if self.is_closed:
            return
        if self._network.hold(self.address, self._arrive, data):
            return
        if self._take is None:
            self._early.append(data)
        else:
            self._take(data)

    def _arrive_end(self, error: Exception | None) -> None:
        if self._end is not None or self._network.hold(self.address, self._arrive_end, error):
            return
        self._end = (error,)
        if self._lose is not None and not self.is_closed:
            self._lose(error)


class Network:
    """Who listens where. `ends` are those that are open, in the order in which they were made."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self._listeners: dict[str, Serve] = {}
        # What waits for a line to be mended, by address.
        self._cut: dict[str, list[tuple[Callable[[Any], None], Any]]] = {}
        self.ends: _Ordered = _Ordered()

    def listen(self, address: str, serve: Serve) -> None:
        self._listeners[address] = serve

    def stop_listening(self, address: str) -> None:
        self._listeners.pop(address, None)

    def cut(self, address: str) -> None:
        """Nothing goes there or comes from there for a while, and no connection breaks."""
        self._cut.setdefault(address, [])

    def heal(self, address: str) -> None:
        """What was sent meanwhile arrives now, as TCP sends it again."""
        for deliver, what in self._cut.pop(address, []):
            deliver(what)

    def is_cut(self, address: str) -> bool:
        return address in self._cut

    def hold(self, address: str, deliver: Callable[[Any], None], what: Any) -> bool:
        """Whether something has to wait for its line to be mended."""
        if address in self._cut:
            self._cut[address].append((deliver, what))
            return True
        return False

    async def connect(self, address: str) -> End:
        """Raises ConnectionRefusedError."""
        await asyncio.sleep(self._latency_s())
        if self.is_cut(address):
            await self.loop.create_future()
        return self.connected(address)

    def connected(self, address: str) -> End:
        """The same at once. Raises ConnectionRefusedError."""
        serve = self._listeners.get(address)
        if serve is None:
            raise ConnectionRefusedError(111, "Connection refused")
        latency_s = self._latency_s()
        mine, theirs = End(self, address, latency_s), End(self, address, latency_s)
        mine.other, theirs.other, mine.is_client = theirs, mine, True
        self.ends.add(mine)
        self.ends.add(theirs)
        serve(theirs)
        return mine

    def _latency_s(self) -> float:
        return _LEAST_S + (_MOST_S - _LEAST_S) * self.loop.chance.random()


class _Ordered(dict[End, None]):
    """A set in the order of arrival."""

    def add(self, end: End) -> None:
        self[end] = None

    def discard(self, end: End) -> None:
        self.pop(end, None)


class SimTransport(asyncio.Transport):
    """What a protocol of the simulated code writes to."""

    def __init__(self, loop: VirtualLoop, end: End, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._connection = end
        self._protocol = protocol
        self._is_paused = False
        self._held: list[bytes] = []
        self._ending: tuple[Exception | None] | None = None
        self._is_lost = False

    def take(self, data: bytes) -> None:
        if self._is_paused:
            self._held.append(data)
        elif not self._connection.is_closed:
            self._protocol.data_received(data)

    def lose(self, error: Exception | None) -> None:
        if self._is_paused:
            self._ending = (error,)
            return
        if error is None and not self._connection.is_closed:
            self._protocol.eof_received()
        self._connection.close()
        self._report(error)

    def _report(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    def write(self, data: Any) -> None:
        self._connection.write(data)

    def close(self) -> None:
        self._connection.close()
        self._report(None)

    def abort(self) -> None:
        self._connection.abort()
        self._report(None)

    def is_closing(self) -> bool:
        return self._connection.is_closed

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        held, self._held = self._held, []
        for data in held:
            self.take(data)
        if self._ending is not None:
            self.lose(self._ending[0])

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Stream:
    """An end as a simulated server uses it: a coroutine reads requests and writes answers."""

    def __init__(self, end: End) -> None:
        self.end = end
        self._data = b""
        self._changed = asyncio.Event()
        self.is_gone = False
        end.open(self._take, self._lose)

    def _take(self, data: bytes) -> None:
        self._data += data
        self._changed.set()

    def _lose(self, _error: Exception | None) -> None:
        self.is_gone = True
        self._changed.set()

    async def request(self) -> tuple[str, str, dict[str, str], bytes] | None:
        """Method, target, headers and body of the next request; None where there is none any more."""
        while b"\r\n\r\n" not in self._data:
            if self.is_gone:
                return None
            await self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", "0"))
        while len(self._data) < size:
            if self.is_gone:
                return None
            await self._more()
        body, self._data = self._data[:size], self._data[size:]
        method, target, _ = first.split(" ")
        return method, target, headers, body

    async def gone(self) -> None:
        """Wait for the end of the connection."""
        while not self.is_gone:
            await self._more()

    async def _more(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def write(self, data: bytes) -> None:
        self.end.write(data)

    def answer(self, status: int, body: bytes = b"", headers: str = "") -> None:
        self.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(body)))
        self.write(headers.encode("latin-1") + b"\r\n" + body)

    def close(self) -> None:
        self.end.close()
