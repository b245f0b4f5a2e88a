"""HTTP/1.1 to other servers: answers are streams, heads and pieces are bounded, connections are used again.

Closing a connection is how a request is cancelled. A server says with an interim answer (102) that it has a request,
so that one which is stopped or cut off is noticed before an answer is due. Nothing here knows what a request means.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

import httptools

from corral.cluster.membership import Member
from corral.errors import NodeError
from corral.incoming import Incoming

Headers = list[tuple[bytes, bytes]]

# Unread body above which the socket is no longer read.
_PAUSE_ABOVE_BYTES = 256 << 10
# Of a head, of trailers, and of anything else that is not a body.
_MAX_HEAD_BYTES = 64 << 10
_MAX_HEADERS = 200
_MAX_IDLE = 16
# Less than a server keeps a silent connection (`WebServer.idle_timeout_s`).
_IDLE_S = 30.0
_NO_CONTENT = frozenset({204, 304})


class Answer(Incoming):
    """One answer at a time on one connection. `status` and `headers` are valid once `wait_head` has returned."""

    def __init__(self) -> None:
        super().__init__(_PAUSE_ABOVE_BYTES)
        self.is_aborted = False
        self.is_reused = False
        self.acknowledged: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.trailers: Headers = []
        self.is_complete = False
        self._has_head = False
        self._keeps_alive = False
        self._head_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def begin(self, data: bytes, body: bytes = b"") -> None:
        """Send a request, on a connection whose last answer is complete."""
        self.is_reused = self.is_complete
        if self.is_complete:
            self.acknowledged = asyncio.get_running_loop().create_future()
            self._reset()
        assert self._transport is not None
        self._transport.write(data + body if len(body) <= _PAUSE_ABOVE_BYTES else data)
        if len(body) > _PAUSE_ABOVE_BYTES:
            self._transport.write(body)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        if self.is_complete:
            self.abort()  # nobody has asked for this
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _TooMuchError):
            self.abort()
            return
        if self._head_bytes > _MAX_HEAD_BYTES + len(data):
            self.abort()
            return
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_result(False)
        super().connection_lost(exc)

    # httptools

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise _TooMuchError

    def on_header(self, name: bytes, value: bytes) -> None:
        found = self.trailers if self._has_head else self.headers
        if len(found) >= _MAX_HEADERS:
            raise _TooMuchError
        found.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_result(True)
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        self.status = status
        self._has_head = True
        self._head_bytes = 0
        self._keeps_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self.is_complete = True

    # for the caller

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent on the connection."""
        is_idle = self.is_complete and not self._chunks and not self._is_lost
        return is_idle and self._keeps_alive and self._transport is not None

    @property
    def is_open(self) -> bool:
        return not self._is_lost and self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close the connection at once; the node stops working on the request."""
        self._is_lost = self.is_aborted = True
        super().abort()
        if not self.acknowledged.done():
            self.acknowledged.set_result(False)
        self._wake()

    async def wait_head(self) -> None:
        """Return when status and headers have come.

        Raises:
            NodeError: the connection was lost first.
        """
        while not self._has_head:
            if self._is_lost:
                raise NodeError("the node closed the connection before it answered")
            await self._wait()

    async def next_bytes(self) -> bytes:
        """All of the body that has come since the last call; empty at its end.

        Raises:
            NodeError: the connection was lost before the end.
        """
        data = await super().next_bytes()
        if not data and not self.is_complete:
            raise NodeError("the node broke off its answer")
        return data

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            NodeError: it breaks off, or is larger than the limit.
        """
        parts: list[bytes] = []
        size = 0
        while data := await self.next_bytes():
            size += len(data)
            if size > limit_bytes:
                raise NodeError(f"the node's answer is larger than {limit_bytes} bytes")
            parts.append(data)
        return b"".join(parts)


class _TooMuchError(Exception):
    """More headers than anybody sends."""


class NodeClient:
    """Connections to one node. `context`: for addresses with https."""

    def __init__(self, member: Member, context: ssl.SSLContext | None, *, connect_s: float = 1.0) -> None:
        parts = urlsplit(member.url)
        self.url = member.url
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._context = context if parts.scheme == "https" else None
        self._tls_name = member.tls_name or self._host
        self._connect_s = connect_s
        name = member.tls_name or parts.netloc
        self._host_line = f"host: {name}\r\n".encode("ascii")
        self._idle: list[tuple[Answer, asyncio.TimerHandle]] = []

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes = b"",
        *,
        is_fresh: bool = False,
    ) -> Answer:
        """Send a request. Whoever gets the answer calls `release` or `abort` in the end.

        Args:
            is_fresh: on a new connection; others may have been closed by the node in this moment.

        Raises:
            NodeError: the node cannot be reached.
        """
        parts = [method.encode("ascii"), b" ", target, b" HTTP/1.1\r\n", self._host_line]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if body or method not in ("GET", "HEAD", "DELETE"):
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n")
        answer = (None if is_fresh else self._take_idle()) or await self._connect()
        answer.begin(b"".join(parts), body)
        return answer

    def release(self, answer: Answer) -> None:
        """Keep the connection for the next request if its answer is complete; else close it."""
        if not answer.is_reusable or len(self._idle) >= _MAX_IDLE:
            answer.abort()
            return
        timer = asyncio.get_running_loop().call_later(_IDLE_S, answer.abort)
        self._idle.append((answer, timer))

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            answer, timer = self._idle.pop()
            timer.cancel()
            answer.abort()

    def _take_idle(self) -> Answer | None:
        while self._idle:
            answer, timer = self._idle.pop()
            timer.cancel()
            if answer.is_open:
                return answer
        return None

    async def _connect(self) -> Answer:
        loop = asyncio.get_running_loop()
        tls_name = self._tls_name if self._context is not None else None
        try:
            async with asyncio.timeout(self._connect_s):
                _, answer = await loop.create_connection(
                    Answer, self._host, self._port, ssl=self._context, server_hostname=tls_name
                )
        except ssl.SSLError as exc:
            raise NodeError(f"TLS with {self.url}: {_ssl_reason(exc)}") from exc
        except TimeoutError:
            raise NodeError(f"{self.url} does not answer") from None
        except OSError as exc:
            raise NodeError(f"{self.url} cannot be reached: {exc.strerror or exc}") from exc
        return answer


def _ssl_reason(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    return (exc.reason or str(exc)).replace("_", " ").lower()
