"""One request on a connection as the application sees it: read its body, answer it, notice that the client left."""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corral.web.heads import HeadError, Request

if TYPE_CHECKING:
    from corral.web.connection import Connection

# More of a body than this waits in the kernel until it is read.
_HIGH_WATER_BYTES = 256 * 1024
_LARGE_BYTES = 64 * 1024
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_WITHOUT_BODY = frozenset({204, 304})


class Call:
    """A request and the way to answer it. Its methods other than `read` and `drain` never wait."""

    __slots__ = (
        "_body",
        "_connection",
        "_error",
        "_head",
        "_held_bytes",
        "_is_chunked",
        "_is_silent",
        "_loop",
        "_must_continue",
        "_readable",
        "gone",
        "is_body_complete",
        "is_ended",
        "is_started",
        "keeps_alive",
        "request",
    )

    def __init__(self, request: Request, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.request = request
        self._connection = connection
        self._loop = loop
        # Of the answer, as long as it is not sent.
        self._head = b""
        self._body: list[bytes] = []
        self._readable: asyncio.Future[None] | None = None
        self._must_continue = request.expects_continue
        self._is_chunked = False
        self._is_silent = False
        self._held_bytes = 0
        self._error: HeadError | None = None
        self.is_body_complete = False
        self.is_started = False
        self.is_ended = False
        self.keeps_alive = request.keeps_alive
        # Done as soon as the client has gone.
        self.gone: asyncio.Future[None] = loop.create_future()

    @property
    def peer(self) -> str:
        """The address that the client connects from; empty for a unix socket."""
        return self._connection.peer

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is a TLS one."""
        return self._connection.is_encrypted

    # Called by the connection.

    def take(self, data: bytes) -> bool:
        """Keep a piece of the body; True if reading should pause until it is used."""
        if self.is_ended:
            return False
        self._body.append(data)
        self._held_bytes += len(data)
        self._wake()
        return self._held_bytes > _HIGH_WATER_BYTES

    def complete_body(self) -> None:
        self.is_body_complete = True
        self._wake()

    def break_body(self, error: HeadError) -> None:
        """The framing of the rest of the body is broken."""
        self._error = error
        self.keeps_alive = False
        self._wake()

    def lose(self) -> None:
        """The client has gone."""
        if not self.gone.done():
            self.gone.set_result(None)
        self._wake()

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    # Called by the application.

    @property
    def is_readable(self) -> bool:
        """Whether `read` returns at once."""
        return bool(self._body) or self.is_body_complete

    async def read(self) -> bytes | None:
        """What has arrived of the body; empty at its end, None if the client left before it.

        Raises:
            HeadError: the body's framing is broken.
        """
        if self._must_continue and not self.is_started and not self._body:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._must_continue = False
        while not self._body and not self.is_body_complete:
            if self._error is not None:
                raise self._error
            if self.gone.done():
                return None
            self._readable = asyncio.get_running_loop().create_future()
            self._connection.resume_reading()
            await self._readable
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._drop_body()
        self._connection.resume_reading()  # more may arrive while the application works on this
        return data

    def _drop_body(self) -> None:
        self._body.clear()
        self._held_bytes = 0

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], size_bytes: int | None) -> None:
        """Send the head of the answer. `size_bytes` None: a stream, which `end` ends.

        It goes out with what is written next, or as soon as the event loop is free: one packet in place of two.
        """
        request = self.request
        self._is_silent = request.method == "HEAD" or status in _WITHOUT_BODY
        # The rest of a body that was not read is skipped, unless the client still waits to send it.
        if self._must_continue or self._connection.is_closing_soon:
            self.keeps_alive = False
        parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, self._connection.common_headers()]
        for name, value in headers:
            if name == b"connection":
                self.keeps_alive = self.keeps_alive and value != b"close"
            elif _BAD_VALUE.search(value):
                raise ValueError(f"header {name!r} cannot have the value {value!r}")
            else:
                parts += (name, b": ", value, b"\r\n")
        if size_bytes is None and not self._is_silent:
            self._is_chunked = not request.is_http10
            self.keeps_alive = self.keeps_alive and self._is_chunked
            parts.append(b"transfer-encoding: chunked\r\n" if self._is_chunked else b"")
        elif size_bytes is not None and status not in _WITHOUT_BODY:
            parts.append(b"content-length: %d\r\n" % size_bytes)
        if not self.keeps_alive:
            parts.append(b"connection: close\r\n")
        elif request.is_http10:
            parts.append(b"connection: keep-alive\r\n")
        parts.append(b"\r\n")
        self.is_started = True
        self._head = b"".join(parts)
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._connection.write(head)

    def acknowledge(self) -> None:
        """Say that the request is here and that its answer may take a while. HTTP/1.0 has no word for that."""
        if not self.is_started and not self.request.is_http10:
            self._connection.write(b"HTTP/1.1 102 Processing\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Send a piece of the answer at once."""
        if self._is_silent or not data:
            return
        if self._head and len(data) > _LARGE_BYTES:
            self._flush()  # a copy takes longer than a packet
        head, self._head = self._head, b""
        if self._is_chunked:
            data = b"%b%x\r\n%b\r\n" % (head, len(data), data)
        elif head:
            data = head + data
        self._connection.write(data)

    @property
    def is_blocked(self) -> bool:
        """Whether the client reads more slowly than the application writes; then `drain` waits for it."""
        return self._connection.is_blocked

    async def drain(self) -> None:
        await self._connection.drain()

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """The answer is complete. `trailers` follow a chunked body; other answers have no place for them."""
        if self.is_ended:
            return
        self.is_ended = True
        self._drop_body()
        self._flush()
        if self._is_chunked:
            lines = b"".join([name + b": " + value + b"\r\n" for name, value in trailers])
            self._connection.write(b"0\r\n" + lines + b"\r\n")
        self._connection.end_call(self)

    def abort(self) -> None:
        """Break the answer off, so that the client sees that it is not complete."""
        self._flush()
        self.is_ended = True
        self._connection.abort()
