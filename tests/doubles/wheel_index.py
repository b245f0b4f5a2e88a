"""A package index on loopback, and wheels for it: the installed engine packed again, and a small one that imports."""

from __future__ import annotations

import base64
import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import xllamacpp

from corral.runner.engines.choice import wheel_version

TAGS = "py3-none-any"
# An engine that says of itself what the real one does, and lists a card.
SMALL = """
def get_system_info():
    return "CUDA : ARCHS = 900 | CPU : AVX2 = 1 | "
def get_device_info():
    card = {"name": "CUDA0", "description": "NVIDIA H200", "type": "X_TYPE_GPU"}
    return [{**card, "memory_total": 2 << 30, "memory_free": 1 << 30, "device_id": "0000:01:00.0"}]
"""


def small_wheel(folder: Path, *, version: str = "", tags: str = TAGS, source: str = SMALL) -> Path:
    """A wheel of a package that takes the place of the engine's."""
    return _pack(folder, version or wheel_version(), tags, {"xllamacpp/__init__.py": source.encode()})


def real_wheel(folder: Path, *, version: str = "") -> Path:
    """The engine that is installed here, as a wheel again."""
    package = Path(xllamacpp.__file__).parent
    files = {f"xllamacpp/{path.name}": path.read_bytes() for path in package.iterdir() if path.is_file()}
    return _pack(folder, version or wheel_version(), "cp310-abi3-linux_x86_64", files)


def _pack(folder: Path, version: str, tags: str, files: dict[str, bytes]) -> Path:
    info = f"xllamacpp-{version}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: {tags}\n"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: xllamacpp\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": wheel.encode(),
    }
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"xllamacpp-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class WheelIndex:
    """Serves wheels as `ADDRESS/xllamacpp/`. Its faults are set while it runs.

    `cuts`: how many downloads break off half way. `status`: what every request is answered with. `digest`: what the
    page says that the files have. `holds`: a download stops half way until `release` is set.
    """

    def __init__(self, *paths: Path, digest: str = "") -> None:
        self.paths = {path.name: path for path in paths}
        self.digest = digest
        self.cuts = 0
        self.status = 200
        self.holds = False
        self.started = threading.Event()
        self.release = threading.Event()
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WheelIndex:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def page(self) -> bytes:
        fragment = f"#sha256={self.digest}" if self.digest else ""
        links = "".join(f'<a href="/files/{name}{fragment}">{name}</a><br>\n' for name in self.paths)
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                parts = self.path.strip("/").split("/")
                if index.status != 200:
                    self.send_error(index.status)
                elif parts[0] == "files" and (path := index.paths.get(parts[-1])):
                    self._send_file(path.read_bytes())
                elif parts[-1] == "xllamacpp":
                    self._send(index.page(), "text/html")
                else:
                    self.send_error(404)

            def _send(self, body: bytes, kind: str, promised: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body) if promised is None else promised))
                self.end_headers()
                self.wfile.write(body)

            def _send_file(self, body: bytes) -> None:
                half = body[: len(body) // 2]
                if index.cuts:
                    index.cuts -= 1
                    self._send(half, "application/zip", len(body))
                    self.close_connection = True
                elif index.holds:
                    self._send(half, "application/zip", len(body))
                    self.wfile.flush()
                    index.started.set()
                    index.release.wait()
                else:
                    self._send(body, "application/zip")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
