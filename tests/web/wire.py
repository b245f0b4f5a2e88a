"""Raw HTTP over a socket, as no well-behaved client would send it."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.conftest import Server

HOST = b"Host: 127.0.0.1\r\n"
# Ends hangs; nothing here is timed.
DEADLINE_S = 60


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)


def exchange(server: Server, data: bytes, *, half_closes: bool = False) -> bytes:
    """Everything that the server sends until it closes."""
    with connect(server) as client:
        client.sendall(data)
        if half_closes:
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(1 << 16):
        received += piece
    return received


def read_until(client: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        piece = client.recv(1 << 16)
        assert piece, received
        received += piece
    return received


def chat(*headers: bytes, version: bytes = b"1.1", **fields: Any) -> bytes:
    """A chat request with a body that the model `say` answers at once."""
    body = json.dumps({"model": "say", "messages": [{"role": "user", "content": "now A"}], **fields}).encode()
    lines = b"".join(header + b"\r\n" for header in headers)
    head = b"POST /api/chat HTTP/%b\r\n%b%bContent-Length: %d\r\n\r\n" % (version, HOST, lines, len(body))
    return head + body


def statuses(answer: bytes) -> list[int]:
    """The statuses of all answers on a connection."""
    return [
        int(part[:3])
        for part in answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").split(b"HTTP/1.1 ")[1:]
    ]
