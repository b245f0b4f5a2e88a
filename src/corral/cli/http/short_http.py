"""One short HTTP call over plain TCP, for commands that finish before `http.client` would be imported.

The standard library's client (with its email parser) takes three times as long to import as the interpreter to
start, which is noticeable in `list` and `--version` (docs/decisions/0023-a-quick-command-line.md). This module
implements what a single call needs of HTTP/1.1: a body with a length, in chunks, or up to the end of the connection.
Streams, uploads, TLS and proxies go through `http.client` (see client.py).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

CONNECT_TIMEOUT_S = 10.0
_READ_BYTES = 1 << 16
_MAX_HEAD_BYTES = 1 << 16


class InvalidResponseError(OSError):
    """The response is not HTTP, or is incomplete."""


class Response:
    """A complete response. Header names are in lower case."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


def exchange(
    host: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout_s: float | None = None,
) -> Response:
    """Send one request and read its response. A path as `host` is a unix socket.

    `timeout_s`: how long the server may say nothing; None: forever.

    Raises:
        OSError: nothing is listening, or the connection broke; InvalidResponseError for an invalid response.
    """
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append("Connection: close")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + (body or b"")
    with _connect(host, port) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(request)
        return _read_response(connection, has_body=method != "HEAD")


def _connect(host: str, port: int) -> socket.socket:
    """`socket.create_connection` without the codec for international names, which takes 2 ms to load."""
    if host.startswith("/"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(host)
            prepare_socket(connection)
        except OSError:
            connection.close()
            raise
        return connection
    refusal: OSError | None = None
    name = host.encode() if host.isascii() else host
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(address)
            prepare_socket(connection)
        except OSError as error:
            connection.close()
            refusal = error
        else:
            return connection
    raise refusal or OSError("the host has no address")


def prepare_socket(connection: socket.socket) -> None:
    """No time limit on responses, but notice a machine that went away; no delay for small requests."""
    connection.settimeout(None)
    if connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _read_response(connection: socket.socket, *, has_body: bool) -> Response:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(_READ_BYTES)
        if not piece or len(data) > _MAX_HEAD_BYTES:
            raise InvalidResponseError("the response is not HTTP")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    status_line, *header_lines = head.decode("latin-1").split("\r\n")
    version, _, status_text = status_line.partition(" ")
    status, _, reason = status_text.partition(" ")
    if not version.startswith("HTTP/") or not status.isdecimal():
        raise InvalidResponseError("the response is not HTTP")
    if status == "100":  # the client never sends Expect: 100-continue
        raise InvalidResponseError("unexpected 100 Continue response")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in header_lines)
    }
    body = _read_body(connection, rest, headers) if has_body and status not in ("204", "304") else b""
    return Response(int(status), reason, headers, body)


def _read_body(connection: socket.socket, rest: bytes, headers: Mapping[str, str]) -> bytes:
    is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    length_text = headers.get("content-length", "")
    wanted = int(length_text) if length_text.isdecimal() and not is_chunked else None
    pieces, size = [rest], len(rest)
    while wanted is None or size < wanted:
        piece = connection.recv(_READ_BYTES)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    if wanted is not None and size < wanted:
        raise InvalidResponseError("the server closed the connection in the middle of the response")
    data = b"".join(pieces)
    return _join_chunks(data) if is_chunked else data


def _join_chunks(data: bytes) -> bytes:
    parts: list[bytes] = []
    start = 0
    while True:
        end = data.find(b"\r\n", start)
        try:
            size = int(data[start:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0 or end + 2 + size > len(data):
            raise InvalidResponseError("the server closed the connection in the middle of the response")
        if size == 0:
            return b"".join(parts)
        parts.append(data[end + 2 : end + 2 + size])
        start = end + 2 + size + 2
