"""A registry in this process that takes uploads, as Ollama's does: chunks may be redirected elsewhere.

`is_redirecting` answers each PATCH with 307: the chunk goes by PUT to another path, and the next URL is given at
once. A test's function `before(asked)` sees each request first and may answer it instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Upload", "UploadRegistry", "UploadRequest"]

_RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass
class UploadRequest:
    handler: BaseHTTPRequestHandler
    method: str
    path: str
    headers: dict[str, str]

    def drop_after(self, count: int, data: bytearray) -> None:
        """Take so many bytes of the body, then break the connection."""
        data += self.handler.rfile.read(count)
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


class Upload:
    def __init__(self) -> None:
        self.data = bytearray()
        self.chunks: dict[int, bytes] = {}


class UploadRegistry:
    def __init__(self, *, is_redirecting: bool = False) -> None:
        self.is_redirecting = is_redirecting
        self.before: Callable[[UploadRequest, Upload | None], bool] = lambda _asked, _upload: False
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.etags: list[str] = []
        self.uploads: dict[str, Upload] = {}
        self.asked: list[UploadRequest] = []
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (_Handler,), {"double": self}))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.port = self._http.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.base = f"http://{self.host}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: UploadRegistry

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        upload = self.double.uploads.get(parts.path.rpartition("/")[2])
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = UploadRequest(self, self.command, self.path, headers)
        with self.double.lock:
            self.double.asked.append(asked)
        if self.double.before(asked, upload):
            return
        body = self.rfile.read(int(headers.get("content-length", "0")))
        query = parse_qs(parts.query)
        if self.command == "HEAD":
            self._answer(200 if parts.path.rpartition("/")[2] in self.double.blobs else 404)
        elif self.command == "POST":
            number = str(len(self.double.uploads))
            self.double.uploads[number] = Upload()
            self._answer(202, {"Location": f"/v2/u/{number}"})
        elif "/manifests/" in parts.path:
            self.double.manifests[parts.path] = body
            self._answer(201)
        elif upload is None:
            self._answer(404)
        elif self.command == "GET":
            self._answer(204, {"Range": f"0-{max(len(upload.data) - 1, 0)}", "Location": self.path})
        elif self.command == "PATCH":
            self._patch(upload, body, parts.path)
        elif "digest" in query:
            self._commit(upload, query)
        else:
            upload.chunks[int(query["first"][0])] = body
            self._answer(200)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve

    def _patch(self, upload: Upload, body: bytes, path: str) -> None:
        match = _RANGE.fullmatch(self.headers["content-range"])
        assert match is not None
        if self.double.is_redirecting:
            target = f"{path}?first={match[1]}"
            self._answer(307, {"Location": target, "Docker-Upload-Location": path})
        elif int(match[1]) != len(upload.data):
            self._answer(416)
        else:
            upload.data += body
            self._answer(202, {"Location": path})

    def _commit(self, upload: Upload, query: dict[str, list[str]]) -> None:
        data = bytes(upload.data) or b"".join(upload.chunks[first] for first in sorted(upload.chunks))
        digest = query["digest"][0]
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            self._answer(400)
            return
        self.double.blobs[digest] = data
        self.double.etags.append(query["etag"][0])
        self._answer(201)

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
