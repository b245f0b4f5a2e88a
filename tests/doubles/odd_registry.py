"""A registry in this process that misbehaves on demand: a test's function sees each request and may answer it.

It serves manifests and blobs from memory, with ranges, and keeps a log of what was asked for and how many bytes of
bodies went out. Any number of threads talk to it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.doubles.certificates import TestCertificate
from tests.doubles.real_registry import digest_of

__all__ = ["Asked", "OddRegistry"]

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Asked:
    """A request, and ways to answer it badly. `start` and `stop` are what its range asks for."""

    handler: BaseHTTPRequestHandler
    method: str
    path: str
    headers: dict[str, str]
    start: int = 0
    stop: int = 0
    sent_bytes: int = field(default=0)

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """A whole answer. A header with an empty value is left out."""
        all_headers = {"Content-Length": str(len(body)), **(headers or {})}
        self.handler.send_response(status)
        for name, value in all_headers.items():
            if value:
                self.handler.send_header(name, value)
        self.handler.end_headers()
        self.write(body)

    def write(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()
        self.sent_bytes += len(data)

    def part(self, data: bytes, *, size: int | None = None) -> None:
        """The right answer to a range, but for `size`: only so many bytes, then the connection drops."""
        piece = data[self.start : self.stop]
        headers = {"Content-Range": f"bytes {self.start}-{self.stop - 1}/{len(data)}"}
        if size is None:
            self.answer(206, piece, headers)
            return
        self.answer(206, piece[:size], {**headers, "Content-Length": str(len(piece))})
        self.drop()

    def drop(self) -> None:
        """Close the connection in the middle of it."""
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


class OddRegistry:
    """`before(asked)` returns True if it answered; False leaves the request to the registry."""

    def __init__(
        self, before: Callable[[Asked], bool] | None = None, *, certificate: TestCertificate | None = None
    ) -> None:
        self.before = before or (lambda _asked: False)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.connection_count = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (_Handler,), {"double": self}))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.port = self._http.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.base = f"{'https' if certificate else 'http'}://{self.host}"
        if certificate is not None:
            context = certificate.server_context()
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def blob_requests(self) -> list[Asked]:
        return [asked for asked in self.asked if "/blobs/" in asked.path]

    def sent_bytes(self) -> int:
        """Bytes of blobs that went out."""
        return sum(asked.sent_bytes for asked in self.blob_requests())

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: OddRegistry

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def handle(self) -> None:
        self.double.connection_count += 1
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self, self.command, self.path, headers)
        data = self.double.blobs.get(self.path.rpartition("/")[2], b"")
        if match := _RANGE.fullmatch(headers.get("range", "")):
            asked.start, asked.stop = int(match[1]), int(match[2]) + 1
        self.double.asked.append(asked)
        if self.double.before(asked):
            return
        if "/manifests/" in self.path and self.path in self.double.manifests:
            asked.answer(200, self.double.manifests[self.path])
        elif data and asked.stop:
            asked.part(data)
        elif data:
            asked.answer(200, data)
        else:
            asked.answer(404, b"{}")

    do_HEAD = do_GET
