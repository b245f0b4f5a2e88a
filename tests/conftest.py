"""What many tests need: small models, and a real server on a real socket."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.waiting import PATIENCE_S

# The suite starts hundreds of servers and commands; without kept bytecode each of them compiles Corral again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
pytest_plugins = ("tests.fast", "tests.order")
FIXTURES = Path(__file__).parent / "fixtures"
FAKE_ENGINE = Path(__file__).parent / "doubles" / "fake_llama_server.py"
# A busy machine is slow, and slow is not wrong.
settings.register_profile("corral", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("corral")
PLAIN_TEMPLATE = "{{ if .System }}{{ .System }}|{{ end }}{{ .Prompt }}{{ .Response }}"


# Work on the server's event loop is bounded by this much processor time (docs/architecture.md). A test in which it
# takes longer fails; CORRAL_TEST_LOOP_GUARD=report prints where instead.
LOOP_BOUND = os.environ.get("CORRAL_TEST_LOOP_BOUND", "100ms")
_HELD = "the event loop was held"
_held_lines: list[str] = []


class Server:
    """A `corral serve` process with a store of its own, and a client for it that knows nothing of Corral."""

    def __init__(self, **env: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="corral-test-"))
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))
        }
        self.env = {
            **clean,
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_MODELS": str(self.folder),
            "HOME": str(self.folder),
            "OLLAMA_CLOUD_BASE_URL": "http://127.0.0.1:9",  # no test asks the world outside
            "CORRAL_LOOP_GUARD": LOOP_BOUND,
            "CORRAL_SPARE_ENGINE": "0",  # a process more for each server; tests/runner/test_spare.py has some
            **env,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "corral.cli.main", "serve"],
            env=self.env,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._listening = threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        assert self._listening.wait(PATIENCE_S), "".join(self.log)
        assert self.port, "".join(self.log)
        self.base = f"http://127.0.0.1:{self.port}"
        self.env["OLLAMA_HOST"] = self.base

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if _HELD in line:
                _held_lines.append(line)
            if "listening" in line and not self.port:
                self.port = int(line.partition("http://")[2].split()[0].rpartition(":")[2])
                self._listening.set()
        self._listening.set()

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of any answer, errors too."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def post(self, path: str, body: Any) -> Any:
        """The answer of a call that has to succeed; of a stream all objects."""
        status, data = self.request("POST", path, body)
        assert status < 300, data
        objects = [json.loads(line) for line in data.splitlines() if line.strip()]
        return objects[0] if len(objects) == 1 else objects

    def stream(self, path: str, body: Any) -> list[dict[str, Any]]:
        status, data = self.request("POST", path, body)
        assert status == 200, data
        return [json.loads(line) for line in data.splitlines()]

    def get(self, path: str) -> Any:
        status, data = self.request("GET", path)
        assert status == 200, data
        return json.loads(data)

    def upload(self, path: Path) -> str:
        data = path.read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        status, answer = self.request("POST", f"/api/blobs/{digest}", data)
        assert status in (200, 201), answer
        return digest

    def create(self, name: str, fixture: str, **fields: Any) -> None:
        digest = self.upload(FIXTURES / f"{fixture}.gguf")
        body = {"model": name, "files": {f"{fixture}.gguf": digest}, "stream": False, **fields}
        assert self.post("/api/create", body) == {"status": "success"}

    def children(self) -> list[int]:
        """Process ids of the engine children, without the workers that come and go."""
        found = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=False
        )
        lines = [line.split(None, 2) for line in found.stdout.splitlines()]
        own = [(pid, command) for pid, parent, command in lines if parent == str(self.process.pid)]
        return [int(pid) for pid, command in own if "workers.child" not in command]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def loop_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """No piece of work that a test causes may hold the event loop of a server for long.

    A server of a session or a module lives while other tests run, and what it says is read a moment later. So a test
    that starts no process is not to blame; the next one that does reports it.
    """
    yield
    if request.node.get_closest_marker("process") is None:
        return
    found = [*_held_lines]
    _held_lines.clear()
    if not found:
        return
    if os.environ.get("CORRAL_TEST_LOOP_GUARD") == "report":
        _reported.append(f"{request.node.nodeid}: {''.join(found).strip()}")
    else:
        pytest.fail(
            f"work on the event loop took more than {LOOP_BOUND} of processor time:\n{''.join(found)}"
        )


_reported: list[str] = []


def pytest_sessionstart() -> None:
    """Under nohup the servers of the tests would inherit that SIGHUP does nothing."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """What was imported stays, so no test waits while all of it is searched for garbage."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What held event loops, where tests do not fail for it."""
    for line in _reported:
        terminalreporter.write_line(f"loop guard: {line}")


@pytest.fixture
def start_server(process: None) -> Iterator[Callable[..., Server]]:
    """Start servers with settings of the test's own; all are stopped afterwards."""
    servers: list[Server] = []

    def start(**env: str) -> Server:
        server = Server(**env)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def fake_server(start_server: Callable[..., Server]) -> Callable[..., Server]:
    """Start a server on the engine double, with a model `m`; arguments are settings of the double."""

    def start(settings: dict[str, str] | None = None, **fake: object) -> Server:
        env = {f"FAKE_{name.upper()}": str(value) for name, value in fake.items()}
        server = start_server(
            CORRAL_LLAMA_SERVER=str(FAKE_ENGINE), CORRAL_ENGINE_ENV="FAKE_*", **env, **(settings or {})
        )
        server.create("m", "say", template=PLAIN_TEMPLATE)
        return server

    return start


@pytest.fixture(scope="session")
def server(process: None) -> Iterator[Server]:
    """A server that many tests share, with a scripted model `say` and an embedding model `embed`."""
    server = Server()
    try:
        server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
        server.create("embed", "embed")
        server.create("tiny", "tiny")
        yield server
    finally:
        server.close()
