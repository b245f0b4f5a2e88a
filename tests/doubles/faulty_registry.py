#!/usr/bin/env python3
"""A registry that lies, stalls and breaks; a seed decides which fault meets which request. Standard library only.

    faulty_registry.py SEED LOG [--faults N] [--poison]

Prints its port. It offers `library/m:latest` with a configuration, a small layer and one of `BIG_BYTES`. The first N
requests may be met by a fault (each with probability one half), later ones are served as they should be. With
`--poison` the big layer never has the content that its digest promises. LOG gets a line of JSON for each request
for a blob: which, the first and the last byte asked for, the fault if any.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BIG_BYTES = 40 << 20
_PIECE = 64 << 10
_PATIENCE_S = 20.0

MANIFEST_FAULTS = (
    "drop", "500", "503 retry", "429", "429 retry", "garbage", "cut", "bomb", "trickle", "endless", "silent",
    "other digest", "huge size",
)  # fmt: skip
BLOB_FAULTS = (
    "drop", "drop", "drop", "500", "503 retry", "429", "429 retry", "short", "long", "wrong range", "wrong total",
    "200", "trickle", "endless", "silent", "redirect", "redirect loop", "redirect private", "404 once", "flip",
    "gzip", "no length",
)  # fmt: skip


class Content:
    """What the registry of a seed offers."""

    def __init__(self, seed: int, *, is_poisoned: bool) -> None:
        source = random.Random(seed)
        block = source.randbytes(1 << 20)
        big = b"".join(bytes([i]) + block[1:] for i in range(BIG_BYTES >> 20))
        self.blobs: dict[str, bytes] = {}
        config = self._add(b'{"model_format":"gguf","model_family":"llama"}')
        small = self._add(b"{{ .Prompt }}")
        large = self._add(big)
        if is_poisoned:
            self.blobs[large] = big[:-1] + bytes([big[-1] ^ 1])
        kinds = ("model", "template")
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": self._layer("application/vnd.docker.container.image.v1+json", config),
                "layers": [
                    self._layer(f"application/vnd.ollama.image.{kind}", digest)
                    for kind, digest in zip(kinds, (large, small), strict=True)
                ],
            }
        ).encode()

    def _add(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def _layer(self, media_type: str, digest: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest, "size": len(self.blobs[digest])}


class Registry(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = Content(arguments.seed, is_poisoned=arguments.poison)
        self.choices = random.Random(f"faults {arguments.seed}")
        self.left = arguments.faults
        self.log_path = arguments.log
        self.lock = threading.Lock()

    def choose_fault(self, faults: tuple[str, ...]) -> str:
        with self.lock:
            if self.left <= 0:
                return ""
            self.left -= 1
            return self.choices.choice(faults) if self.choices.random() < 0.5 else ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what this program is for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(is_head=True)

    def do_GET(self) -> None:
        self.answer(is_head=False)

    def answer(self, *, is_head: bool) -> None:
        if self.path == "/v2/":
            self.send_whole(200, b"{}")
        elif self.path == "/v2/library/m/manifests/latest":
            self.answer_manifest(self.server.choose_fault(MANIFEST_FAULTS))
        elif match := re.fullmatch(r"/v2/library/m/blobs/(sha256:[0-9a-f]{64})(\?direct)?", self.path):
            fault = "" if match[2] else self.server.choose_fault(BLOB_FAULTS)
            self.answer_blob(match[1], fault, is_head=is_head)
        else:
            self.send_whole(404, b'{"errors":[]}')

    # --- ways to answer ---

    def send_whole(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.close_connection = True

    def fail(self, fault: str) -> bool:
        """Faults that manifests and blobs share; whether it was one."""
        if fault == "silent":
            time.sleep(_PATIENCE_S)
            self.hang_up()
        elif fault == "trickle":
            try:
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ":
                    self.wfile.write(bytes([byte]))
                    time.sleep(_PATIENCE_S / 40)
            finally:
                self.hang_up()
        elif fault == "endless":
            self.send_response(206 if "blobs" in self.path else 200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            ends_s = time.monotonic() + _PATIENCE_S
            while time.monotonic() < ends_s:
                self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            self.hang_up()
        elif fault.partition(" ")[0] in ("429", "500", "503"):
            headers = {"Retry_After": "1"} if fault.endswith("retry") else {}
            self.send_whole(int(fault[:3]), b"go away", **headers)
        else:
            return False
        return True

    def answer_manifest(self, fault: str) -> None:
        data = self.server.content.manifest
        if self.fail(fault):
            return
        if fault == "drop":
            self.hang_up()
        elif fault == "bomb":
            self.send_whole(200, gzip.compress(b" " * (64 << 20)), Content_Encoding="gzip")
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.hang_up()
        else:
            if fault == "garbage":
                data = b"<html>captive portal</html>"
            elif fault == "other digest":
                data = data.replace(b'"digest": "sha256:', b'"digest": "sha256:../..')
            elif fault == "huge size":
                data = re.sub(rb'"size": \d+', b'"size": 9223372036854775807', data)
            self.send_whole(200, data)

    def answer_blob(self, digest: str, fault: str, *, is_head: bool) -> None:
        data = self.server.content.blobs.get(digest)
        if data is None:
            self.send_whole(404, b'{"errors":[]}')
            return
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(span[1]) if span else 0
        last = min(int(span[2] or len(data)), len(data) - 1) if span else len(data) - 1
        if not is_head:
            self.note(digest, first, last, fault)
        if self.fail(fault):
            return
        if fault == "404 once":
            self.send_whole(404, b'{"errors":[]}')
        elif fault.startswith("redirect"):
            self.redirect(fault)
        elif is_head:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
        else:
            self.send_blob(data, first, last, fault, is_ranged=span is not None)

    def redirect(self, fault: str) -> None:
        port = self.server.server_address[1]
        target = {
            "redirect": f"http://localhost:{port}{self.path}?direct",
            "redirect loop": f"http://127.0.0.1:{port}{self.path}",
            "redirect private": "http://169.254.169.254/latest/meta-data/",
        }[fault]
        self.send_whole(307, b"", Location=target)

    def send_blob(self, data: bytes, first: int, last: int, fault: str, *, is_ranged: bool) -> None:
        if fault == "200":
            first, last, is_ranged = 0, len(data) - 1, False
        body = data[first : last + 1]
        if fault == "flip" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
        if fault == "short":
            body = body[: max(len(body) - 1000, 1)]
        shift = 4096 if fault == "wrong range" else 0
        total = len(data) + (1 if fault == "wrong total" else 0)
        self.send_response(206 if is_ranged else 200)
        if is_ranged:
            self.send_header("Content-Range", f"bytes {first + shift}-{last + shift}/{total}")
        if fault == "gzip":
            body = gzip.compress(body[: 1 << 20], 1)
            self.send_header("Content-Encoding", "gzip")
        if fault == "long":
            body += b"more than you asked for"
        if fault == "no length":
            self.hang_up()
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "drop":
            body = body[: self.server.choices.randrange(len(body) + 1)]
            self.hang_up()
        for pos in range(0, len(body), _PIECE):
            self.wfile.write(body[pos : pos + _PIECE])

    def note(self, digest: str, first: int, last: int, fault: str) -> None:
        line = json.dumps({"digest": digest, "first": first, "last": last, "fault": fault})
        with self.server.lock, open(self.server.log_path, "a") as file:
            file.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("log")
    parser.add_argument("--faults", type=int, default=12)
    parser.add_argument("--poison", action="store_true")
    server = Registry(parser.parse_args())
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
