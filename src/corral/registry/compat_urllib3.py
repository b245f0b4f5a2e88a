"""What Corral uses of urllib3 and `http.client` although neither documents it. Nothing else may.

- `HTTPConnection._new_conn` opens the socket of a connection, and `_dns_host` is the host it goes to.
- `HTTPResponse._fp` is the reply of `http.client` underneath, an object of the connection's `response_class`.
- `HTTPResponse.length_remaining` counts what is left of the body; at zero the connection may serve again.
- `PoolManager.pools` holds the pools; `clear` forgets them, and their connections stay open until they are collected.
- `http.client.HTTPResponse` has its buffered reader in `fp` and the rest of a body of known length in `length`.

`tests/registry/test_compat_urllib3.py` checks each of them against the installed versions.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import urllib3


class OwnSocket:
    """Goes before a connection class of urllib3: `open_socket` makes the socket in place of urllib3."""

    def open_socket(self, host: str, port: int) -> socket.socket:
        raise NotImplementedError

    def _new_conn(self: Any) -> socket.socket:
        sock: socket.socket = self.open_socket(self._dns_host, self.port)
        return sock


class DirectReply(http.client.HTTPResponse):
    """Reads a body of known length into memory of the caller, one call of the socket at a time.

    The standard library and urllib3 return fresh bytes (`read1`) or wait until all memory is full (`readinto`).
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._is_tls = type(sock) is not socket.socket

    def read1_into(self, view: memoryview) -> int:
        """As `BufferedReader.readinto1`, for a body that is not chunked.

        Raises:
            http.client.IncompleteRead: the connection ended before the body did.
        """
        if self.fp is None or self.length is None:
            return 0
        view = view[: self.length]
        count: int = self.fp.readinto1(view)
        if self._is_tls and count:
            with contextlib.suppress(OSError):  # the next call meets it too
                while count < len(view) and self._has_more() and (more := self.fp.readinto1(view[count:])):
                    count += more
        if view:
            self._count(count)
        return count

    def _has_more(self) -> bool:
        """Whether a read would return at once. TLS comes in records of 16 KiB, one a read."""
        poll = select.poll()
        poll.register(self.fp, select.POLLIN)
        return bool(poll.poll(0))

    def _count(self, count: int) -> None:
        assert self.length is not None
        self.length -= count
        if not count:
            raise http.client.IncompleteRead(b"", self.length)
        if not self.length:
            self.close()  # the body only: its connection is free for the next request


def close_pools(manager: urllib3.PoolManager) -> None:
    """Close the idle connections of a manager, which goes on with new ones if it is used again."""
    for key in list(manager.pools.keys()):
        pool = manager.pools.get(key)
        if pool is not None:
            pool.close()
    manager.clear()


class DirectBody:
    """The body of a reply of urllib3, read past urllib3. `find` returns None where that is not possible."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, reply: DirectReply) -> None:
        self._raw = raw
        self._reply = reply

    @classmethod
    def find(cls, raw: urllib3.BaseHTTPResponse) -> DirectBody | None:
        """Bodies of unknown length are left to urllib3."""
        reply = getattr(raw, "_fp", None)
        return cls(raw, reply) if isinstance(reply, DirectReply) and reply.length is not None else None

    def read1_into(self, view: memoryview) -> int:
        """Like `DirectReply.read1_into`; urllib3 keeps its own count of what is left."""
        count = self._reply.read1_into(view)
        self._raw.length_remaining = self._reply.length
        return count
