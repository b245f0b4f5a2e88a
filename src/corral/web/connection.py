"""One client's connection: finds one request after the other in what arrives, and bounds what a client may occupy.

A connection waits for a request, is in the middle of a head, serves a call (the application has its own deadlines
then), or lingers: the answer is sent, and the rest of the request is read and dropped so that the client gets to
read the answer. Every state but the call has a deadline, which the server checks once a second.
"""

from __future__ import annotations

import asyncio
import http
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from corral.web.call import Call
from corral.web.framing import BodyReader, ChunkedBody, SizedBody
from corral.web.heads import MAX_HEAD_BYTES, HeadError, find_head_end, parse_head

_log = logging.getLogger("corral.web")

Application = Callable[[Call], Coroutine[Any, Any, None]]

# A client may send its next requests early; more than this waits in the kernel.
_MAX_EARLY_BYTES = 64 * 1024
# After a refused head: how much the client may have sent before it saw the answer.
_MAX_DROPPED_BYTES = 1 << 20
_LINGER_S = 20.0
_TLS_HANDSHAKE = b"\x16"
_NO_DEADLINE = float("inf")


class Host(Protocol):
    """What a connection needs from its server."""

    application: Application
    head_timeout_s: float
    idle_timeout_s: float
    is_stopping: bool
    is_closing: bool

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for it."""
        ...

    def note_idle(self, connection: Connection) -> None: ...

    def note_busy(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def run(self, work: Coroutine[Any, Any, None]) -> None: ...

    def common_headers(self) -> bytes: ...


class Connection(asyncio.Protocol):
    """The protocol object of one socket. `deadline_s` is on the monotonic clock."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        # An incomplete head, or what arrived before the last answer was sent.
        self._early = bytearray()
        self._scanned_bytes = 0
        self._body: BodyReader | None = None
        self._call: Call | None = None
        self._is_reading = True
        self._writable: asyncio.Future[None] | None = None
        self._has_ended = False
        self._dropped_bytes = -1  # 0 and more: what arrives is dropped and counted
        self.is_blocked = False
        self.peer = "?"
        self.is_encrypted = False
        self.deadline_s = _NO_DEADLINE
        self.common_headers = host.common_headers

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        # A client that has left by now has no address; a unix socket has a text in place of a pair.
        self.peer = str(name[0]) if isinstance(name, tuple) else "" if isinstance(name, str | bytes) else "?"
        self.is_encrypted = transport.get_extra_info("sslcontext") is not None
        if self._host.admit(self):
            self._wait(self._host.head_timeout_s)
        else:
            self._refuse(HeadError(503, "too many connections, please try again"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._host.forget(self)
        self._early.clear()
        if self._call is not None:
            self._call.lose()
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client sends no more. It may still read, but the work for it stops, as in Go."""
        self._has_ended = True
        call = self._call
        if call is None or call.is_ended or not call.is_body_complete:
            return False
        call.lose()
        return True

    def pause_writing(self) -> None:
        self.is_blocked = True
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self.is_blocked = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._dropped_bytes >= 0:
            self._drop(data)
            return
        try:
            self._advance(data)
        except HeadError as error:
            self._refuse(error)

    # Reading.

    def _advance(self, data: bytes) -> None:
        while data:
            if self._body is not None:
                data = self._read_body(data)
            elif self._call is not None:
                self._early += data
                if len(self._early) > _MAX_EARLY_BYTES:
                    self._pause_reading()
                return
            else:
                data = self._read_head(data)

    def _read_head(self, data: bytes) -> bytes:
        """Begin a call if the head is complete; returns what follows the head."""
        if self._transport is None or self._transport.is_closing():
            return b""
        early = self._early
        if not early and self._scanned_bytes == 0:
            self._wait(self._host.head_timeout_s)
        early += data
        if early.startswith((b"\r", b"\n")):
            del early[: len(early) - len(early.lstrip(b"\r\n"))]
        if early.startswith(_TLS_HANDSHAKE):
            raise HeadError(400, "client sent a TLS handshake to a server that speaks plain HTTP")
        end = find_head_end(early, max(self._scanned_bytes - 2, 0))
        self._scanned_bytes = len(early)
        if end > MAX_HEAD_BYTES or (end < 0 and len(early) > MAX_HEAD_BYTES):
            raise HeadError(431, f"the head is longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            return b""
        head, rest = bytes(early[:end]), bytes(early[end:])
        early.clear()
        self._scanned_bytes = 0
        self._begin(head)
        return rest

    def _begin(self, head: bytes) -> None:
        request = parse_head(head)
        self._host.note_busy(self)
        self.deadline_s = _NO_DEADLINE
        call = self._call = Call(request, self, self._loop)
        if request.is_chunked:
            self._body = ChunkedBody()
        elif request.size_bytes:
            self._body = SizedBody(request.size_bytes)
        else:
            call.complete_body()
        if self._has_ended:
            call.lose()
        self._host.run(self._serve(call))

    async def _serve(self, call: Call) -> None:
        try:
            await self._host.application(call)
        except Exception:
            _log.exception("the application failed")
        finally:
            if not call.is_ended:
                self._give_up(call)

    def _give_up(self, call: Call) -> None:
        """The application ended without an answer, or in the middle of one."""
        if call.gone.done():
            self.close()
        elif call.is_started:
            call.abort()
        else:
            call.start(500, (), 0)
            call.end()

    def _read_body(self, data: bytes) -> bytes:
        body, call = self._body, self._call
        assert body is not None and call is not None
        if (piece := body.feed(data)) and call.take(piece):
            self._pause_reading()
        if body.is_done:
            self._body = None
            call.complete_body()
            if call.is_ended:
                self._next()
            return body.rest
        if body.has_more:
            self._pause_reading()
            self._loop.call_soon(self._read_more)
        return b""

    def _read_more(self) -> None:
        if self._body is None or self._transport is None:
            return
        self.resume_reading()
        try:
            self._advance(self._read_body(b""))
        except HeadError as error:
            self._refuse(error)

    def _pause_reading(self) -> None:
        if self._is_reading and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_reading and self._transport is not None and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def _drop(self, data: bytes) -> None:
        self._dropped_bytes += len(data)
        if self._dropped_bytes > _MAX_DROPPED_BYTES:
            self.abort()

    # Answering.

    @property
    def is_closing_soon(self) -> bool:
        """Whether the answer under way is the last one."""
        return self._host.is_stopping or (self._has_ended and not self._early)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self) -> None:
        if self.is_blocked and self._writable is not None:
            await asyncio.shield(self._writable)

    def end_call(self, call: Call) -> None:
        """The answer is sent: go on with the next request, or close."""
        if self._body is None and self._dropped_bytes < 0:
            self._next()
        elif self._transport is not None:
            self._linger(ends_writing=not call.keeps_alive)
            self.resume_reading()

    def _next(self) -> None:
        call, self._call = self._call, None
        if self._transport is None:
            return
        # A client that was not told that the answer was the last one may be sending its next request.
        is_over = self._host.is_closing or (self._has_ended and not self._early)
        if call is None or not call.keeps_alive or is_over:
            self.close()
            return
        self._wait(self._host.idle_timeout_s)
        self.resume_reading()
        if self._early:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Process what arrived before the last answer was sent."""
        if self._call is None and self._early:
            early = bytes(self._early)
            self._early.clear()
            self._scanned_bytes = 0
            self.data_received(early)

    def _refuse(self, error: HeadError) -> None:
        """Answer an invalid request in Go's words, and take no further requests."""
        if self._transport is None or self._dropped_bytes >= 0:
            return
        self._dropped_bytes = 0
        self._early.clear()
        self._body = None
        if self._call is None:
            self._transport.write(_refusal(error))
        elif not self._call.is_ended:
            self._call.break_body(error)
            return
        self._linger(ends_writing=True)

    def _linger(self, *, ends_writing: bool) -> None:
        self.deadline_s = time.monotonic() + _LINGER_S
        if ends_writing and self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _wait(self, timeout_s: float) -> None:
        self.deadline_s = time.monotonic() + timeout_s
        self._host.note_idle(self)

    # Called by the server.

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way."""
        return self._call is None

    def close(self) -> None:
        """Close as soon as everything written has been sent, which has a deadline too."""
        self.deadline_s = time.monotonic() + _LINGER_S
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _refusal(error: HeadError) -> bytes:
    text = f"{error.status} {http.HTTPStatus(error.status).phrase}: {error}".encode("latin-1", "replace")
    line = text.partition(b":")[0]
    head = b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    return (head + b"connection: close\r\n\r\n%b") % (line, len(text), text)
