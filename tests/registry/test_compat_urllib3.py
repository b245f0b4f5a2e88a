"""What Corral relies on in urllib3 and `http.client` without their promise: versions that change it fail here."""

from __future__ import annotations

import http.client
import http.server
import io
import socket
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool

from corral.registry.compat_urllib3 import DirectBody, DirectReply, OwnSocket, close_pools

BODY = bytes(range(256)) * 1000


class _Connection(OwnSocket, HTTPConnection):
    response_class = DirectReply
    opened: ClassVar[list[tuple[str, int]]] = []

    def open_socket(self, host: str, port: int) -> socket.socket:
        self.opened.append((host, port))
        return socket.create_connection((host, port))


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def asked(pool: HTTPConnectionPool, path: str) -> urllib3.BaseHTTPResponse:
    return pool.urlopen("GET", path, preload_content=False, decode_content=False, retries=False)


@pytest.mark.parametrize("kind", [HTTPConnection, HTTPSConnection])
def test_a_connection_opens_its_socket_with_new_conn(kind: type[HTTPConnection]) -> None:
    """`connect` calls `_new_conn` without arguments, and `_dns_host` is the host as it was given."""

    class Told(Exception):
        pass

    class Watched(OwnSocket, kind):  # type: ignore[misc, valid-type]
        def open_socket(self, host: str, port: int) -> socket.socket:
            raise Told(host, port)

    with pytest.raises(Told) as caught:
        Watched("models.example", 8443).connect()
    assert caught.value.args == ("models.example", 8443)


def test_a_reply_is_read_past_urllib3(port: int) -> None:
    """`_fp` is the reply of our class; `fp` and `length` say what is left; at the end the connection serves again."""
    _Connection.opened.clear()
    with _Pool("127.0.0.1", port, maxsize=1) as pool:
        for _ in range(2):
            raw = asked(pool, "/")
            reply = raw._fp  # type: ignore[attr-defined]
            assert type(reply) is DirectReply
            assert isinstance(reply.fp, io.BufferedReader)
            assert reply.length == len(BODY) == raw.length_remaining
            body = DirectBody.find(raw)
            assert body is not None
            got, buffer = b"", memoryview(bytearray(100_000))
            while count := body.read1_into(buffer):
                got += buffer[:count]
                assert raw.length_remaining == reply.length == len(BODY) - len(got)
            assert got == BODY
            assert raw.read1(1) == b""
            raw.release_conn()
    assert _Connection.opened == [("127.0.0.1", port)]


def test_a_body_of_unknown_length_is_left_to_urllib3(port: int) -> None:
    with _Pool("127.0.0.1", port) as pool:
        raw = asked(pool, "/chunked")
        assert DirectBody.find(raw) is None
        assert raw.read1(10, decode_content=False) == b"abc"
        raw.close()


def test_a_body_that_ends_early() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
        theirs.shutdown(socket.SHUT_WR)
        reply = DirectReply(ours, method="GET")
        reply.begin()
        buffer = memoryview(bytearray(10))
        assert reply.read1_into(buffer) == 3
        with pytest.raises(http.client.IncompleteRead):
            reply.read1_into(buffer)
        reply.close()


def test_closing_the_pools_of_a_manager_closes_their_connections(port: int) -> None:
    """Also of a pool that something still holds, as the traceback of an earlier failure does."""
    manager = urllib3.PoolManager()
    raw = manager.request("GET", f"http://127.0.0.1:{port}/", preload_content=False)
    pool, connection = raw._pool, raw._connection  # type: ignore[attr-defined]
    assert raw.read(decode_content=False) == BODY
    raw.release_conn()
    assert pool is not None
    assert connection.is_connected
    close_pools(manager)
    assert not connection.is_connected
