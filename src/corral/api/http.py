"""One HTTP exchange on ASGI: read the body within bounds, answer once or stream, see the client leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from corral.errors import CorralError

__all__ = [
    "JSON",
    "JSON_UTF8",
    "NDJSON",
    "BodyTooLargeError",
    "ClientGoneError",
    "ClientStalledError",
    "Exchange",
]

JSON = "application/json"
JSON_UTF8 = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientGoneError(CorralError):
    """The client closed the connection; nothing is left to say."""


class BodyTooLargeError(CorralError):
    """The request body exceeds its bound."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"request body is larger than {limit_bytes} bytes",
            hint="raise CORRAL_MAX_BODY_BYTES to allow larger requests",
        )
        self.limit_bytes = limit_bytes


class ClientStalledError(CorralError):
    """The client sent half a request and nothing more."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"no more of the request body arrived for {timeout_s:g} s",
            hint="raise CORRAL_CLIENT_TIMEOUT for clients that are that slow",
        )


class Exchange:
    """A request and the way to answer it.

    `extra_headers` go with whatever is answered. `error_encoder` makes the body of an error from its status and
    text; a surface sets its own before it reads anything (None: the native one). `user` is who the client says that
    it serves; it goes into the log.

    A client that stops sending its body, or stops reading a stream, for `stall_timeout_s` (0: never) ends the
    exchange: it must not hold a slot of the engine for ever.
    """

    __slots__ = (
        "_is_writing",
        "_receive",
        "_send",
        "_stall_timeout_s",
        "_write_count",
        "error_encoder",
        "extra_headers",
        "headers",
        "is_started",
        "method",
        "params",
        "path",
        "query",
        "request_id",
        "status",
        "user",
    )

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        request_id: str,
        stall_timeout_s: float = 0,
    ) -> None:
        self._receive = receive
        self._send = send
        self._stall_timeout_s = stall_timeout_s
        self._is_writing = False
        self._write_count = 0
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # the first of a name counts
        self.params: dict[str, str] = {}
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self.error_encoder: Callable[[int, str], bytes] | None = None
        self.is_started = False
        self.status = 0
        self.user = ""
        self.request_id = request_id

    def header(self, name: bytes) -> str:
        """The value of a header (name in lower case), or an empty text."""
        return self.headers.get(name, b"").decode("latin-1")

    async def read_body(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLargeError, ClientGoneError, ClientStalledError
        """
        parts: list[bytes] = []
        size = 0
        async for part in self.iter_body():
            size += len(part)
            if size > limit_bytes:
                raise BodyTooLargeError(limit_bytes)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def iter_body(self) -> AsyncIterator[bytes]:
        """Yield the body in the pieces in which it arrives.

        Raises:
            ClientGoneError: the client left before the end.
            ClientStalledError: it neither sends nor leaves.
        """
        while True:
            try:
                async with asyncio.timeout(self._stall_timeout_s or None):
                    message = await self._receive()
            except TimeoutError:
                raise ClientStalledError(self._stall_timeout_s) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError("client closed the connection")
            if body := message.get("body", b""):
                yield body
            if not message.get("more_body", False):
                return

    async def run_watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; cancel it as soon as the client leaves. The body must have been read.

        Raises:
            ClientGoneError: the client left first, or does not read what it asked for (after `work` has ended).
        """
        worker = asyncio.ensure_future(work)
        watcher = asyncio.ensure_future(self._wait_disconnect())
        reason = "client closed the connection"
        # Two looks without a write in between make a stall; so the hot path needs no clock.
        look_s = self._stall_timeout_s / 2 or None
        seen_count, was_stuck = -1, False
        try:
            while not (worker.done() or watcher.done()):
                await asyncio.wait({worker, watcher}, timeout=look_s, return_when=asyncio.FIRST_COMPLETED)
                is_stuck = self._is_writing and self._write_count == seen_count
                if is_stuck and was_stuck:
                    reason = "client stopped reading"
                    break
                seen_count, was_stuck = self._write_count, is_stuck or self._is_writing
            if worker.done():
                worker.result()
                return
        finally:
            watcher.cancel()
            if not worker.done():
                worker.cancel()
                await asyncio.wait({worker})
        raise ClientGoneError(reason)

    async def _wait_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Send a whole answer; to HEAD its headers alone."""
        all_headers = [(b"content-length", b"%d" % len(body)), *self.extra_headers, *(headers or ())]
        if content_type is not None:
            all_headers.append((b"content-type", content_type.encode("ascii")))
        await self._start(status, all_headers)
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def start_stream(
        self, content_type: str, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        content = (b"content-type", content_type.encode("ascii"))
        await self._start(status, [content, *headers, *self.extra_headers])

    async def write(self, data: bytes) -> None:
        """Send a piece of a stream at once; waits while the client does not read."""
        self._is_writing = True
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._is_writing = False
        self._write_count += 1

    async def end_stream(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.is_started = True
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
