"""A call of a client without a connection: what it sends is given, and what is answered is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast
from unittest.mock import Mock

from corral.access.addresses import Client
from corral.api.http.exchange import Exchange
from corral.api.http.limits import BodyLimits
from corral.api.http.routing import Route, Scope
from corral.web.call import Call


class RecordedCall:
    """A call whose answer is kept. `body` is what the client sends."""

    is_readable = True

    def __init__(
        self, method: str, path: str, body: bytes = b"", headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.request = Mock(
            method=method, path=path, raw_path=path, query=b"", headers=[*headers], size_bytes=len(body)
        )
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.written = b""
        self._parts = [body, b""]

    async def read(self) -> bytes:
        return self._parts.pop(0)

    def start(self, status: int, headers: list[tuple[bytes, bytes]], size_bytes: int | None) -> None:
        self.status, self.headers = status, headers

    def write(self, data: bytes) -> None:
        self.written += data

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        pass


def exchange_of(call: RecordedCall, limits: BodyLimits | None = None) -> Exchange:
    return Exchange(cast("Call", call), "1", limits=limits or BodyLimits())


async def _answer(exchange: Exchange) -> None:
    await exchange.respond(200)


def request(
    scope: Scope | None,
    *headers: tuple[bytes, bytes],
    address: str = "127.0.0.1",
    is_local: bool = True,
    is_read_only: bool = False,
) -> Exchange:
    """A request for a route of a scope (None: for a path that no table has) from an address."""
    exchange = exchange_of(RecordedCall("POST", "/a", headers=headers))
    exchange.client = Client(address, is_local)
    if scope is not None:
        exchange.route = Route("POST", "/a", _answer, "", scope=scope, is_read_only=is_read_only)
    return exchange
