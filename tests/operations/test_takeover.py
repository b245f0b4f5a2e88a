"""A new server takes over the port while the old one drains: no stream is broken."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE, Server
from tests.test_start import fails_with, serve
from tests.waiting import wait_until

pytestmark = pytest.mark.process
BODY = json.dumps({"model": "m", "prompt": "x"})


class Client(threading.Thread):
    """Streams one answer after the other, on one connection as long as the server lets it."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__()
        self._port = port
        self._stopped = stop
        self.whole_count = 0
        self.failures: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        while not self._stopped.is_set():
            try:
                connection.request("POST", "/api/generate", BODY)
                lines = connection.getresponse().read().splitlines()
                if json.loads(lines[-1]).get("done"):
                    self.whole_count += 1
                else:
                    self.failures.append(lines[-1].decode())
            except (OSError, http.client.HTTPException, ValueError) as exc:
                self.failures.append(repr(exc))
                connection.close()
        connection.close()


def test_rolling_restarts(start_server: Callable[..., Server]) -> None:
    settings = {
        "CORRAL_LLAMA_SERVER": str(FAKE_ENGINE),
        "CORRAL_ENGINE_ENV": "FAKE_*",
        "FAKE_TOKENS": "5",
        "FAKE_DELAY_S": "0.002",
        "CORRAL_REUSE_PORT": "1",
    }
    server = start_server(**settings)
    server.create("m", "say", template=PLAIN_TEMPLATE)
    settings |= {"OLLAMA_HOST": f"127.0.0.1:{server.port}", "OLLAMA_MODELS": str(server.folder)}
    stop = threading.Event()
    clients = [Client(server.port, stop) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            count = sum(client.whole_count for client in clients)
            wait_until(lambda count=count: sum(client.whole_count for client in clients) > count + 20)  # type: ignore[misc]
            successor = start_server(**settings)
            server.process.terminate()
            assert server.process.wait(120) == 0
            server = successor
    finally:
        stop.set()
        for client in clients:
            client.join(120)
    assert [failure for client in clients for failure in client.failures] == []
    assert all(client.whole_count for client in clients)


def test_without_being_asked_a_port_is_not_shared(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(CORRAL_REUSE_PORT="1")
    fails_with(serve(tmp_path, OLLAMA_HOST=f"127.0.0.1:{server.port}"), "address already in use")
