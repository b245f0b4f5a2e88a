"""Accepts connections, bounds their number, closes those whose deadline has passed, and ends all of them in time."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from email.utils import formatdate
from typing import Any

from corral.web.connection import Application, Connection
from corral.web.tls import TlsListener

_SWEEP_S = 1.0
# This many connections beyond the bound get 503; further ones are closed without an answer.
_MAX_REFUSED = 64
# How long a client whose connection was accepted in the last moment may take to send its request.
_LAST_HEAD_S = 1.0
_LAST_LOOKS = 50


class WebServer:
    """Serves an application on a listening socket.

    When `max_connections` are open, the one that has been waiting longest without a request is closed for a new
    one; if all are busy, the new one gets 503. `head_timeout_s` bounds how long a request head may take,
    `idle_timeout_s` how long a connection may wait for its next request.
    """

    def __init__(
        self,
        application: Application,
        *,
        max_connections: int,
        backlog: int = 2048,
        head_timeout_s: float = 30.0,
        idle_timeout_s: float = 90.0,
    ) -> None:
        self.application = application
        self.head_timeout_s = head_timeout_s
        self.idle_timeout_s = idle_timeout_s
        # Answers say that they are the last ones on their connections; connections without a request are closed.
        self.is_stopping = False
        self.is_closing = False
        self._max_connections = max_connections
        self._backlog = backlog
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        # Connections that got 503; they do not count towards the bound.
        self._refused: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: list[tuple[asyncio.Server, socket.socket]] = []
        self._secure: list[TlsListener] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._common: tuple[int, bytes] = (0, b"")

    async def start(
        self, listener: socket.socket, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        """Serve on a socket; may be called for several. With a `context` it speaks TLS."""
        loop = asyncio.get_running_loop()
        if context is not None:
            self._secure.append(TlsListener(listener, context, self._new_connection))
        else:
            server = await loop.create_server(self._new_connection, sock=listener, backlog=self._backlog)
            self._listening.append((server, listener))
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(_SWEEP_S, self._sweep)

    def announce_end(self) -> None:
        """From now on every answer is the last one on its connection."""
        self.is_stopping = True

    async def stop(
        self,
        stop_calls: Callable[[], None],
        *,
        grace_s: float,
        drained: Callable[[], Awaitable[None]] | None = None,
        hand_over: Callable[[socket.socket], None] | None = None,
    ) -> None:
        """Take no more connections. Wait for the requests under way, then end them by `stop_calls`, then cancel them.

        They have until `drained` returns, or `grace_s`. `hand_over` sends new connections of a socket to another
        server; then clients that are about to send a request on an open connection are waited for too.
        """
        self.announce_end()
        if hand_over is not None:
            await self._hand_over(hand_over)
        else:
            self.is_closing = True
            self._close_waiting()
        self._stop_listening()
        if drained is not None:
            await self._wait_for_calls(drained(), waits_for_clients=hand_over is not None)
        elif self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        stop_calls()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        self._cancel_calls()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        await self._close_connections(grace_s)

    async def _hand_over(self, hand_over: Callable[[socket.socket], None]) -> None:
        for listener in [listener for _, listener in self._listening] + [
            each.socket for each in self._secure
        ]:
            if listener.family != socket.AF_UNIX:
                hand_over(listener)
        # Handshakes under way come to their end, and whoever sends a request now gets a last answer.
        await asyncio.sleep(_LAST_HEAD_S)

    def _close_waiting(self) -> None:
        for connection in list(self._connections):
            if connection.is_waiting:
                connection.close()

    def _stop_listening(self) -> None:
        for server, listener in self._listening:
            # What the kernel has accepted already would be reset with the socket.
            for waiting in _accept_all(listener):
                self.run(self._adopt(waiting))
            server.close()
        for secure in self._secure:
            secure.accept_all()
            secure.close()

    async def _adopt(self, accepted: socket.socket) -> None:
        """Serve the one request of a connection that came in the last moment."""
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.connect_accepted_socket(self._new_connection, accepted)
        except OSError:
            accepted.close()
            return
        for _ in range(_LAST_LOOKS):
            if connection not in self._connections or not connection.is_waiting:
                return
            await asyncio.sleep(_LAST_HEAD_S / _LAST_LOOKS)
        connection.close()

    async def _wait_for_calls(self, drained: Awaitable[None], *, waits_for_clients: bool) -> None:
        """Until no request is under way, or the time for them is over. Clients that may send one get a moment."""
        over = asyncio.ensure_future(drained)
        try:
            while not over.done():
                if self._tasks:
                    await asyncio.wait({*self._tasks, over}, return_when=asyncio.FIRST_COMPLETED)
                elif waits_for_clients and any(each.is_waiting for each in self._connections):
                    waits_for_clients = False
                    await asyncio.wait({over}, timeout=_LAST_HEAD_S)
                else:
                    return
        finally:
            over.cancel()

    def _cancel_calls(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _close_connections(self, timeout_s: float) -> None:
        """Give the last bytes a moment to be sent."""
        end_s = time.monotonic() + timeout_s
        while self._connections and time.monotonic() < end_s:
            for connection in list(self._connections):
                connection.close()
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.abort()
        for secure in self._secure:
            secure.abort()

    def _new_connection(self) -> Connection:
        return Connection(self)

    # Called by connections.

    def admit(self, connection: Connection) -> bool:
        self._connections.add(connection)
        if len(self._connections) - len(self._refused) <= self._max_connections:
            return True
        if oldest := next(iter(self._idle), None):
            self.forget(oldest)
            oldest.abort()
            return True
        self._refused.add(connection)
        if len(self._refused) > _MAX_REFUSED:
            connection.abort()
        return False

    def note_idle(self, connection: Connection) -> None:
        self._idle[connection] = None

    def note_busy(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._refused.discard(connection)
        self._idle.pop(connection, None)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def common_headers(self) -> bytes:
        """The headers of every answer."""
        now_s = int(time.time())
        if self._common[0] != now_s:
            self._common = (now_s, f"date: {formatdate(now_s, usegmt=True)}\r\n".encode("ascii"))
        return self._common[1]

    def _sweep(self) -> None:
        now_s = time.monotonic()
        for connection in [c for c in self._connections if c.deadline_s < now_s]:
            connection.abort()
        self._sweep_timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait in the listener's queue."""
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:  # BlockingIOError: none is left
            return
        accepted.setblocking(False)
        yield accepted
