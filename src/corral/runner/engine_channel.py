"""Short questions to the engine over connections that stay open: an answer in one piece, and no stream to cancel.

To connect costs the engine and us more than such a question does. The engine gives an idle connection a thread, so
few are kept. A question whose caller leaves closes its connection, which is how the engine learns of it.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

# As many as ask at the same time as a rule: two calls for vectors, and a question about tokens.
_MAX_IDLE = 3


class _Connection(asyncio.Protocol):
    """One question at a time. `is_open` as long as the engine would take another one."""

    def __init__(self) -> None:
        self.is_open = True
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the engine closed the connection before it answered"))

    # httptools callbacks

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.is_open = self.is_open and self._parser.should_keep_alive()
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), content))
        else:
            self.abort()  # nobody asked

    # for the caller

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        """Raises ConnectionError: the connection ended before the answer did."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(data)
            return await self._answer
        except BaseException:
            self.abort()
            raise
        finally:
            self._answer = None

    def abort(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()


class EngineChannel:
    """For one engine."""

    def __init__(self, socket_path: str, key: str) -> None:
        self._socket_path = socket_path
        self._head = (
            f" HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode("ascii")
        self._idle: list[_Connection] = []

    async def post(self, path: str, content: bytes) -> tuple[int, bytes]:
        """The status and body of an answer.

        The engine closes a connection that was idle for long, perhaps just now: the question goes out again then.
        Nothing that is asked this way changes anything.

        Raises:
            ConnectionError: the engine cannot be reached, or closed the connection before it answered.
        """
        data = b"".join((b"POST ", path.encode("ascii"), self._head, b"%d\r\n\r\n" % len(content), content))
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                try:
                    return await self._ask(connection, data)
                except ConnectionError:
                    break
        return await self._ask(await self._connect(), data)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(_Connection, self._socket_path)
        except OSError as exc:
            raise ConnectionError(f"the engine cannot be reached: {exc}") from exc
        return connection

    async def _ask(self, connection: _Connection, data: bytes) -> tuple[int, bytes]:
        answer = await connection.ask(data)
        if connection.is_open and len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    def close(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
