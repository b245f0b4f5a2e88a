"""What benchmarks compare: a Corral server over HTTP, and the bare engine over its own socket.

The bare engine is a second child with the same start order as the server's; only one of the two works at a time.
Both are driven by the same plain blocking sockets, so that the client costs the same on both sides.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corral.runner.interface import CompletionRequest, EngineChoice, RunnerSpec
from corral.runner.llama_server import completion_body, start_order, with_arguments
from corral.runner.process import EngineProcess
from corral.types import SamplingOptions

FAKE_ENGINE = Path(__file__).parent.parent / "tests" / "doubles" / "fake_llama_server.py"


@dataclass(slots=True)
class Timed:
    """One streamed reply: seconds to its first token, seconds in all, and how many tokens it had."""

    first_s: float
    total_s: float
    tokens: int

    @property
    def decode_tokens_per_s(self) -> float:
        return (self.tokens - 1) / (self.total_s - self.first_s) if self.tokens > 1 else 0.0


def _read_stream(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str],
                 is_token: Any, count_of: Any) -> Timed:  # fmt: skip
    start_s = time.perf_counter()
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(response.read().decode())
    first_s, last = 0.0, b""
    for line in response:
        if not first_s and is_token(line):
            first_s = time.perf_counter() - start_s
        if len(line) > 1:
            last = line
    total_s = time.perf_counter() - start_s
    return Timed(first_s, total_s, count_of(last))


class Server:
    """A `corral serve` with a store of its own on a free port."""

    def __init__(self, **env: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="corral-bench-"))
        self.env = {**os.environ, "OLLAMA_HOST": "127.0.0.1:0", "OLLAMA_MODELS": str(self.folder), **env}
        start_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "corral.cli.main", "serve"],
            env=self.env,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        self.port = 0
        for line in self._process.stderr:
            if "listening" in line and "http://" in line:
                self.port = int(line.partition("http://")[2].split()[0].rstrip("/").rpartition(":")[2])
                break
        self.ready_s = time.perf_counter() - start_s
        if not self.port:
            raise RuntimeError("the server did not start")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def call(self, path: str, body: Any = None, method: str = "POST") -> Any:
        connection = self.connect()
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.status >= 400:
            raise RuntimeError(data.decode())
        return json.loads(data) if data else None

    def create(self, name: str, gguf: Path, **fields: Any) -> None:
        digest = "sha256:" + hashlib.sha256(gguf.read_bytes()).hexdigest()
        connection = self.connect()
        with gguf.open("rb") as file:
            headers = {"Content-Length": str(gguf.stat().st_size)}
            connection.request("POST", f"/api/blobs/{digest}", file, headers)
            connection.getresponse().read()
        connection.close()
        self.call("/api/create", {"model": name, "files": {gguf.name: digest}, "stream": False, **fields})

    def generate(self, model: str, prompt: str, options: dict[str, Any]) -> Timed:
        body = {"model": model, "prompt": prompt, "raw": True, "options": options}
        connection = self.connect()
        try:
            return _read_stream(
                connection, "/api/generate", json.dumps(body).encode(), {},
                lambda line: b'"response"' in line, lambda line: json.loads(line).get("eval_count", 0),
            )  # fmt: skip
        finally:
            connection.close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(15)
        shutil.rmtree(self.folder, ignore_errors=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class BareEngine:
    """An engine child driven over its socket, without anything of ours between."""

    def __init__(self, spec: RunnerSpec, engine: EngineChoice | None = None) -> None:
        self.spec = spec
        self._folder = tempfile.mkdtemp(prefix="corral-bench-")
        self._socket = f"{self._folder}/e.sock"
        self._key = secrets.token_hex(8)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        order = start_order(spec, engine or EngineChoice(), socket_path=self._socket, key=self._key)
        order = with_arguments(order, None)
        start_s = time.perf_counter()
        self._process = asyncio.run_coroutine_threadsafe(self._start(order, engine), self._loop).result(300)
        self.load_s = time.perf_counter() - start_s

    async def _start(self, order: dict[str, Any], engine: EngineChoice | None) -> EngineProcess:
        process = await EngineProcess.spawn(order, engine.extra_env if engine else {})
        await process.wait_ready(lambda _share: None)
        return process

    def generate(self, prompt: str, options: dict[str, Any]) -> Timed:
        sampling = replace(SamplingOptions(), **options)
        body = completion_body(CompletionRequest(prompt, sampling), self.spec.num_ctx)
        connection = _UnixConnection(self._socket)
        try:
            return _read_stream(
                connection, "/completion", json.dumps(body).encode(),
                {"Authorization": f"Bearer {self._key}", "Connection": "close"},
                lambda line: b'"stop":false' in line and b"prompt_progress" not in line,
                lambda line: json.loads(line[6:])["timings"]["predicted_n"],
            )  # fmt: skip
        finally:
            connection.close()

    def embed(self, texts: list[str]) -> None:
        connection = _UnixConnection(self._socket)
        headers = {"Authorization": f"Bearer {self._key}"}
        connection.request("POST", "/embedding", json.dumps({"content": texts, "embd_normalize": 2}), headers)
        response = connection.getresponse()
        json.loads(response.read())
        connection.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._process.close(), self._loop).result(15)
        self._loop.call_soon_threadsafe(self._loop.stop)
        shutil.rmtree(self._folder, ignore_errors=True)


def interleaved(repetitions: int) -> Iterator[tuple[int, bool]]:
    """Repetition numbers, each once for either peer, the first peer changing."""
    for i in range(repetitions):
        yield from ((i, i % 2 == 0), (i, i % 2 == 1))
