"""The receiving half of an HTTP client on one connection: a body that is read as it arrives, and is bounded."""

from __future__ import annotations

import asyncio
from typing import cast


class Incoming(asyncio.Protocol):
    """Gets `on_body` from an HTTP parser. More than `pause_above_bytes` of unread body stop reading from the socket.

    `is_complete`: the whole body has come. Whoever derives from it sets that.
    """

    def __init__(self, pause_above_bytes: int) -> None:
        self.is_complete = False
        self._pause_above_bytes = pause_above_bytes
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self._is_paused = False
        self._is_lost = False
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._held_bytes += len(body)
        if self._held_bytes > self._pause_above_bytes and self._transport is not None and not self._is_paused:
            self._transport.pause_reading()
            self._is_paused = True

    def abort(self) -> None:
        """Close the connection at once; the other side stops working on the request."""
        if self._transport is not None:
            self._transport.abort()

    async def next_bytes(self) -> bytes:
        """All of the body that has come since the last call; empty at its end.

        An end without `is_complete` is a broken connection.
        """
        while not self._chunks:
            if self.is_complete or self._is_lost:
                return b""
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._held_bytes = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
