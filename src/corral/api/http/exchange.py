"""One HTTP exchange: read the body within bounds, answer once or stream, see the client leave or the server stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from corral.access.addresses import Client
from corral.api.http.encodings import content_codings, decode_body
from corral.api.http.limits import BodyLimits
from corral.errors import CorralError, InvalidRequestError
from corral.web.call import Call
from corral.web.heads import HeadError, Request

if TYPE_CHECKING:
    from corral.api.http.routing import Handler, Route

JSON = "application/json"
JSON_UTF8 = "application/json; charset=utf-8"
NDJSON: Final = "application/x-ndjson"

# Whoever sends a body more slowly than this, after the time in which a silent client is dropped, is dropped too.
_MIN_BYTES_PER_S = 1024
_THREAD_BYTES = 2 << 20
_KEPT_ANSWER_BYTES = 4096
_STATUS_BUSY = 503


class ClientGoneError(CorralError):
    """The client closed the connection; there is nobody to answer."""


class ServerStoppingError(CorralError):
    """The server is shutting down, and with it what it was doing for this client."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down", hint="try again when it is back")


class BodyTooLargeError(CorralError):
    """The request body exceeds its bound; `can_raise` if CORRAL_MAX_BODY_BYTES is that bound."""

    def __init__(self, limit_bytes: int, *, can_raise: bool = True) -> None:
        hint = "raise CORRAL_MAX_BODY_BYTES to allow larger requests" if can_raise else ""
        super().__init__(f"request body is larger than {limit_bytes} bytes", hint=hint)
        self.limit_bytes = limit_bytes


class ClientStalledError(CorralError):
    """The client sent half a request and nothing more, or next to nothing."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"no more of the request body arrived for {timeout_s:g} s",
            hint="raise CORRAL_CLIENT_TIMEOUT for clients that are that slow",
        )


class Exchange:
    """A request and the way to answer it.

    `route` is the entry of a table that the request matched (None: no such path or method), `surface` the name of
    its API, `handler` what answers,
    even if it is with a 404. `error_encoder` makes the body of an error from its status, text and hint, as the
    route's surface has it (None: the native form). `extra_headers` go with whatever is answered. `user` is who the
    client says that it serves; it goes into the log, as do `refusal` and `failure`, why a request was not served.

    A client that stops sending its body, or stops reading a stream, for `stall_timeout_s` (0: never) ends the
    exchange: it must not hold a slot of the engine forever.
    """

    __slots__ = (
        "_body_bytes",
        "_call",
        "_ended_by",
        "_held_bytes",
        "_is_writing",
        "_limits",
        "_stall_timeout_s",
        "_unread",
        "_worker",
        "_write_count",
        "before_answer",
        "client",
        "error_encoder",
        "extra_headers",
        "failure",
        "handler",
        "headers",
        "is_started",
        "keep_body",
        "kept_answer",
        "method",
        "params",
        "path",
        "query",
        "raw_path",
        "refusal",
        "request_id",
        "retry_after_s",
        "route",
        "status",
        "surface",
        "trailers",
        "user",
    )

    def __init__(
        self, call: Call, request_id: str, *, limits: BodyLimits, stall_timeout_s: float = 0
    ) -> None:
        request = call.request
        self._call = call
        self._limits = limits
        self._held_bytes = self._body_bytes = 0
        self._stall_timeout_s = stall_timeout_s
        self._ended_by: Callable[[], CorralError] | None = None
        self._is_writing = False
        self._write_count = 0
        self._worker: asyncio.Task[None] | None = None
        self.method = request.method
        self.path = request.path
        self.raw_path = request.raw_path or request.path
        self.query = request.query
        self.headers: dict[bytes, bytes] = dict(reversed(request.headers))  # the first of a name counts
        self.params: dict[str, str] = {}
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self.error_encoder: Callable[[int, str, str], bytes] | None = None
        self.route: Route | None = None
        self.surface = ""
        self.handler: Handler | None = None
        self.is_started = False
        # What was read of the body and is to be read again.
        self._unread: bytes | None = None
        # Headers that can only be told when the answer is complete.
        self.trailers: Callable[[], list[tuple[bytes, bytes]]] | None = None
        # Gets the status of the answer before anything of it is sent, and may raise in its place.
        self.before_answer: Callable[[int], None] | None = None
        # Gets the path and the whole body, unpacked.
        self.keep_body: Callable[[str, bytes], Awaitable[None]] | None = None
        # Gets the beginning of what is answered.
        self.kept_answer: bytearray | None = None
        self.refusal = self.failure = ""
        # When a client may come again that is refused because too much is going on.
        self.retry_after_s: Callable[[], int] | None = None
        self.status = 0
        # Who sent the request; set by a step.
        self.client = Client("", is_local=False)
        self.user = ""
        self.request_id = request_id

    def with_call(self, call: Call) -> Exchange:
        """The same request, whose answer goes elsewhere. Its body has to have been read."""
        other = Exchange(call, self.request_id, limits=self._limits, stall_timeout_s=self._stall_timeout_s)
        for name in ("client", "error_encoder", "handler", "route", "surface", "_unread"):
            setattr(other, name, getattr(self, name))
        other.params = dict(self.params)
        return other

    @property
    def request(self) -> Request:
        """As it came."""
        return self._call.request

    @property
    def gone(self) -> asyncio.Future[None]:
        """Done as soon as the client has gone."""
        return self._call.gone

    def header(self, name: bytes) -> str:
        """The value of a header (name in lower case), or an empty text."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Every header in the order in which they came; a name may be there more than once."""
        return self._call.request.headers

    @property
    def peer(self) -> str:
        """The address at the other end of the connection; empty for a unix socket."""
        return self._call.peer

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is a TLS one."""
        return self._call.is_encrypted

    @property
    def max_body_bytes(self) -> int:
        """The largest body that this exchange reads: the smaller of the route's bound and the server's."""
        limit_bytes = self._limits.max_body_bytes
        return limit_bytes if self.route is None else min(limit_bytes, self.route.limit_bytes)

    @property
    def max_depth(self) -> int:
        """How deep lists and objects may be nested in the body's JSON."""
        return self._limits.max_depth

    async def read_body(self) -> bytes:
        """The whole body, unpacked if the client packed it with gzip, deflate or zstd.

        Raises:
            BodyTooLargeError: it is larger than `max_body_bytes`, packed or unpacked.
            InvalidRequestError: it does not unpack.
            UnsupportedEncodingError, ServerBusyError, ClientGoneError, ClientStalledError
        """
        body = await self.read_packed_body()
        codings = content_codings(self.header(b"content-encoding"))
        if not codings or not body:
            await self.take_body(body, was_packed=False)
            return body
        unpacked = await asyncio.to_thread(decode_body, body, codings, self.max_body_bytes)
        if unpacked is None:
            raise self._too_large()
        await self.take_body(unpacked, was_packed=True)
        return unpacked

    async def take_body(self, body: bytes, *, was_packed: bool) -> None:
        """Count a body beside its packed form, and keep it where bodies are kept.

        Raises:
            ServerBusyError: there is no room for it.
        """
        if was_packed:
            self._hold(len(body))
        if self.keep_body is not None:
            await self.keep_body(self.path, body)

    async def read_packed_body(self) -> bytes:
        """The whole body as the client sent it; whoever unpacks it calls `take_body`.

        Raises:
            BodyTooLargeError, ServerBusyError, ClientGoneError, ClientStalledError
        """
        if self._unread is not None:
            return self._unread
        limit_bytes = self.max_body_bytes
        if self._call.request.size_bytes > limit_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        async for part in self.iter_body():
            size += len(part)
            if size > limit_bytes:
                raise self._too_large()
            self._hold(len(part))
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        # Joining large ones takes tens of milliseconds, in which the interpreter's lock is free.
        return b"".join(parts) if size < _THREAD_BYTES else await asyncio.to_thread(b"".join, parts)

    def unread(self, body: bytes) -> None:
        """Let a body, as `read_packed_body` gave it, be read again."""
        self._unread = body

    def acknowledge(self) -> None:
        """Say at once that the request is here, to another server that waits for the answer."""
        self._call.acknowledge()

    def _too_large(self) -> BodyTooLargeError:
        limit_bytes = self.max_body_bytes
        is_of_route = self.route is not None and limit_bytes == self.route.limit_bytes
        return BodyTooLargeError(limit_bytes, can_raise=not is_of_route)

    def _hold(self, size_bytes: int) -> None:
        self._held_bytes += self._limits.budget.take(size_bytes, self._body_bytes)
        self._body_bytes += size_bytes

    def release(self) -> int:
        """Give back the memory that was counted for the body; returns how much it was, in bytes."""
        held_bytes, self._held_bytes = self._held_bytes, 0
        self._limits.budget.give_back(held_bytes)
        return held_bytes

    async def iter_body(self) -> AsyncIterator[bytes]:
        """Yield the body in the pieces in which it arrives.

        Raises:
            ClientGoneError: the client left before the end.
            ClientStalledError: it neither sends nor leaves.
            InvalidRequestError: its framing is not valid HTTP.
        """
        started_s, size_bytes = time.monotonic(), 0
        while data := await self._read_piece():
            size_bytes += len(data)
            if self._stall_timeout_s:
                allowed_s = self._stall_timeout_s + size_bytes / _MIN_BYTES_PER_S
                if time.monotonic() - started_s > allowed_s:
                    raise ClientStalledError(self._stall_timeout_s)
            yield data

    async def _read_piece(self) -> bytes:
        try:
            if self._call.is_readable:  # most bodies are here with their head
                data = await self._call.read()
            else:
                async with asyncio.timeout(self._stall_timeout_s or None):
                    data = await self._call.read()
        except TimeoutError:
            raise ClientStalledError(self._stall_timeout_s) from None
        except HeadError as exc:
            raise InvalidRequestError(str(exc)) from None
        if data is None:
            raise ClientGoneError("client closed the connection")
        return data

    def end(self, reason: Callable[[], CorralError]) -> None:
        """End what runs for this client. The surface reports the error that `reason` makes in its own form."""
        self._ended_by = self._ended_by or reason
        if self._worker is not None:
            self._worker.cancel()

    async def run_watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; cancel it as soon as the client leaves. The body must have been read.

        Raises:
            ClientGoneError: the client left first, or does not read what it asked for (after `work` has ended).
            CorralError: that of `end` (after `work` has ended).
        """
        worker = self._worker = asyncio.ensure_future(work)
        gone = self._call.gone
        reason = "client closed the connection"
        # Two looks without a write in between make a stall; so the hot path needs no clock.
        look_s = self._stall_timeout_s / 2 or None
        seen_count, was_stuck = -1, False
        if self._ended_by is not None:
            worker.cancel()
        try:
            while not (worker.done() or gone.done()):
                await asyncio.wait({worker, gone}, timeout=look_s, return_when=asyncio.FIRST_COMPLETED)
                is_stuck = self._is_writing and self._write_count == seen_count
                if is_stuck and was_stuck:
                    reason = "client stopped reading"
                    break
                seen_count, was_stuck = self._write_count, is_stuck or self._is_writing
            if worker.done():
                if worker.cancelled() and self._ended_by is not None:
                    raise self._ended_by()
                worker.result()
                return
        finally:
            if not worker.done():
                worker.cancel()
                await asyncio.wait({worker})
            # The error in it holds this frame: what it worked on would stay until a full collection.
            self._worker = None
            del worker
        raise ClientGoneError(reason)

    async def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str | None = None,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Send a whole answer; to HEAD its headers alone."""
        all_headers = [*self.extra_headers, *(headers or ())]
        if status == _STATUS_BUSY and self.retry_after_s is not None:
            all_headers.append((b"retry-after", b"%d" % self.retry_after_s()))
        if content_type is not None:
            all_headers.append((b"content-type", content_type.encode("ascii")))
        if self.trailers is not None:
            all_headers += self.trailers()
        self._start(status, all_headers, len(body))
        self._keep_answer(body)
        self._call.write(body)
        self._call.end()

    async def start_stream(
        self,
        content_type: str,
        status: int = 200,
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        size_bytes: int | None = None,
    ) -> None:
        """Begin an answer that `write` continues. With `size_bytes`, exactly so many bytes follow before its end."""
        content = (b"content-type", content_type.encode("ascii"))
        self._start(status, [content, *headers, *self.extra_headers], size_bytes)

    async def write(self, data: bytes) -> None:
        """Send a piece of a stream at once; waits while the client does not read."""
        if self.kept_answer is not None:
            self._keep_answer(data)
        self._call.write(data)
        if self._call.is_blocked:
            self._is_writing = True
            await self._call.drain()
            self._is_writing = False
        self._write_count += 1

    def _keep_answer(self, data: bytes) -> None:
        if self.kept_answer is not None and len(self.kept_answer) < _KEPT_ANSWER_BYTES:
            self.kept_answer += data[:_KEPT_ANSWER_BYTES]

    async def end_stream(self) -> None:
        self._call.end(self.trailers() if self.trailers is not None else ())

    def _start(self, status: int, headers: list[tuple[bytes, bytes]], size_bytes: int | None) -> None:
        if self.before_answer is not None:
            self.before_answer(status)
        self._call.start(status, headers, size_bytes)
        self.is_started = True
        self.status = status
