"""Accepts connections, bounds their number, closes those whose deadline has passed, and ends all of them in time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any

from corral.web.connection import Application, Connection

_SWEEP_S = 1.0
# This many connections beyond the bound get 503; further ones are closed without an answer.
_MAX_REFUSED = 64


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
        self.is_stopping = False
        self._max_connections = max_connections
        self._backlog = backlog
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        # Connections that got 503; they do not count towards the bound.
        self._refused: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._common: tuple[int, bytes] = (0, b"")

    async def start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), sock=listener, backlog=self._backlog
        )
        self._sweep_timer = loop.call_later(_SWEEP_S, self._sweep)

    async def stop(self, stop_calls: Callable[[], None], *, grace_s: float) -> None:
        """Take no more requests. Wait for those under way, then end them by `stop_calls`, then cancel them."""
        self.is_stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            if connection.is_waiting:
                connection.close()
        for end in (stop_calls, self._cancel_calls):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=grace_s)
            end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        await self._close_connections(grace_s)

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
