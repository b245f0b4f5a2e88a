"""What this server itself would answer, as a value: for answers that are made of those of several nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from corral.api.cluster.asking import NodeAnswer
from corral.api.cluster.hopping import answer_headers, header_of
from corral.api.http.errors import body_of, hint_of, status_of, text_of
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.routing import Handler
from corral.errors import CorralError
from corral.web.call import Call
from corral.web.heads import Request


class _CapturedCall:
    """As `web.call.Call`, but nobody is at the other end."""

    def __init__(
        self, request: Request, peer: str, gone: asyncio.Future[None], *, is_encrypted: bool
    ) -> None:
        self.request = request
        self.peer = peer
        self.is_encrypted = is_encrypted
        self.gone = gone
        self.is_blocked = False
        self.is_readable = True
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []

    async def read(self) -> bytes | None:
        return b""

    def acknowledge(self) -> None: ...

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], size_bytes: int | None) -> None:
        self.status = status
        self.headers = list(headers)

    def write(self, data: bytes) -> None:
        self.parts.append(data)

    async def drain(self) -> None: ...

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None: ...

    def abort(self) -> None: ...


async def captured(exchange: Exchange, following: Handler, node: str) -> NodeAnswer:
    """Let this server answer the request, and give what it says. The body has to have been read."""
    call = _CapturedCall(exchange.request, exchange.peer, exchange.gone, is_encrypted=exchange.is_encrypted)
    other = exchange.with_call(cast("Call", call))
    try:
        await following(other)
    except CorralError as error:
        encode = other.error_encoder
        status = status_of(error)
        body = body_of(error) if encode is None else encode(status, text_of(error), hint_of(error))
        return NodeAnswer(node, status, body, JSON_UTF8)
    kind = header_of(call.headers, b"content-type")
    return NodeAnswer(node, call.status, b"".join(call.parts), kind, answer_headers(call.headers))
