"""A small HTTP/1.1 client for the engine's unix socket, made for streams of many tiny events.

One connection carries one request, because closing it is how a request is cancelled. Bodies are read as they
arrive; reading pauses while the consumer is slower. It knows nothing of what the engine's routes mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httptools
import orjson

from corral.incoming import Incoming

# Unread body above which the socket is no longer read (a slow client must not fill the server's memory).
_PAUSE_ABOVE_BYTES = 1 << 20


class EngineResponse(Incoming):
    """One response. `status` is valid once `open_request` has returned it."""

    def __init__(self) -> None:
        super().__init__(_PAUSE_ABOVE_BYTES)
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)
        self._has_headers = False

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # The engine speaks HTTP only: whatever this is, the stream cannot be trusted.
            self.abort()
            return
        self._wake()

    # httptools callbacks

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_headers = True

    def on_message_complete(self) -> None:
        self.is_complete = True

    # for the caller

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def wait_headers(self) -> bool:
        """Whether response headers arrived (False: the connection was lost first)."""
        while not self._has_headers and not self._is_lost:
            await self._wait()
        return self._has_headers

    async def read(self) -> bytes:
        """Return the whole rest of the body."""
        parts = []
        while data := await self.next_bytes():
            parts.append(data)
        return b"".join(parts)


@asynccontextmanager
async def open_request(
    socket_path: str, key: str, method: str, path: str, body: dict[str, Any] | None = None
) -> AsyncIterator[EngineResponse]:
    """Send a request and yield the response once its status is known; leaving closes the connection.

    Raises:
        ConnectionError: the engine cannot be reached, or closed the connection before it answered.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, response = await loop.create_unix_connection(EngineResponse, socket_path)
    except OSError as exc:
        raise ConnectionError(f"the engine cannot be reached: {exc}") from exc
    try:
        content = b"" if body is None else orjson.dumps(body)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        response.write(head.encode("ascii") + content)
        if not await response.wait_headers():
            raise ConnectionError("the engine closed the connection before it answered")
        yield response
    finally:
        transport.abort()
