"""Health, readiness, and the end of a server: nobody's stream is broken, and nobody waits forever."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.errors import CorralError
from corral.operations.health import Health, check_engine_exists
from corral.operations.pulse import LoopPulse
from corral.operations.sdnotify import notify, watchdog_interval_s
from tests.conftest import Server
from tests.test_start import CHAT, begin
from tests.waiting import wait_until

Fake = Callable[..., Server]
LONG = {"model": "m", "prompt": "x", "options": {"num_ctx": 200_000}}


def ready(server: Server) -> tuple[int, list[str]]:
    status, body = server.request("GET", "/readyz")
    return status, [reason["check"] for reason in json.loads(body)["reasons"]]


@pytest.mark.process
def test_health_and_readiness(server: Server) -> None:
    """200 while all is well, for GET and HEAD, and no other method."""
    status, body = server.request("GET", "/healthz")
    assert status == 200 and json.loads(body)["status"] == "ok"
    wait_until(lambda: ready(server) == (200, []))
    assert server.request("HEAD", "/readyz") == (200, b"")
    assert server.request("POST", "/readyz")[0] == 405


@pytest.mark.process
def test_streams_run_to_their_end(fake_server: Fake) -> None:
    """SIGTERM: not ready, no new connections, and the stream is whole."""
    server = fake_server({"CORRAL_DRAIN_DELAY": "1h"}, tokens=60, delay_s=0.02)
    answers: dict[str, bytes] = {}
    thread = begin(server, "/api/generate", LONG, answers)
    server.process.terminate()
    wait_until(lambda: ready(server) == (503, ["draining"]))
    assert server.request("GET", "/healthz")[0] == 200
    # Whoever still has a connection learns that it is the last answer.
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/api/version")
    assert connection.getresponse().getheader("connection") == "close"
    connection.close()
    thread.join(60)
    last = json.loads(answers["/api/generate"].splitlines()[-1])
    assert last["done"] and last["eval_count"] == 60
    server.process.terminate()  # the delay is over
    assert server.process.wait(60) == 1


@pytest.mark.process
def test_streams_run_to_their_end_without_a_delay(fake_server: Fake) -> None:
    server = fake_server(tokens=60, delay_s=0.05)
    answers: dict[str, bytes] = {}
    threads = [
        begin(server, "/api/generate", LONG, answers),
        begin(server, "/v1/chat/completions", {**CHAT, "stream": True}, answers),
    ]
    server.process.terminate()
    assert server.process.wait(60) == 0
    for thread in threads:
        thread.join(60)
    assert json.loads(answers["/api/generate"].splitlines()[-1])["eval_count"] == 60
    assert answers["/v1/chat/completions"].endswith(b"data: [DONE]\n\n")


@pytest.mark.process
def test_what_takes_longer_ends_with_an_error(fake_server: Fake) -> None:
    server = fake_server({"CORRAL_DRAIN_TIMEOUT": "1s"}, tokens=100_000, delay_s=0.01)
    answers: dict[str, bytes] = {}
    thread = begin(server, "/api/generate", LONG, answers)
    children = server.children()
    server.process.terminate()
    assert server.process.wait(60) == 0
    thread.join(60)
    assert json.loads(answers["/api/generate"].splitlines()[-1])["error"] == "the server is shutting down"
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}/exe")]


@pytest.mark.process
def test_a_second_signal_shortens_it(fake_server: Fake) -> None:
    """The stream still gets its error."""
    server = fake_server({"CORRAL_DRAIN_TIMEOUT": "1h"}, tokens=100_000, delay_s=0.01)
    answers: dict[str, bytes] = {}
    thread = begin(server, "/api/generate", LONG, answers)
    server.process.terminate()
    wait_until(lambda: any("stopping signal=SIGTERM" in line for line in server.log))
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 1
    thread.join(60)
    assert json.loads(answers["/api/generate"].splitlines()[-1])["error"] == "the server is shutting down"


@pytest.mark.process
def test_what_systemd_is_told(fake_server: Fake, tmp_path: Path) -> None:
    """READY, signs of life, STOPPING, in this order."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))

        def listen() -> None:
            while b"STOPPING=1" not in heard:
                heard.append(listener.recv(4096))

        thread = threading.Thread(target=listen)
        thread.start()
        server = fake_server({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
        wait_until(lambda: heard.count(b"WATCHDOG=1") > 2)
        server.process.terminate()
        assert server.process.wait(60) == 0
        thread.join(60)
    assert heard[0] in (b"READY=1", b"WATCHDOG=1") and heard.count(b"READY=1") == 1
    assert heard[-1] == b"STOPPING=1"


def test_reports_without_systemd(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:1"})
    assert watchdog_interval_s({}) == 0
    assert watchdog_interval_s({"WATCHDOG_USEC": "3000000"}) == 1.5
    assert watchdog_interval_s({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}) == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{tmp_path}")
        assert notify("RELOADING=1", {"NOTIFY_SOCKET": f"@{tmp_path}"})
        assert listener.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_every_reason_not_to_be_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_engine() -> None:
        raise CorralError("the engine is gone")

    def checks(health: Health) -> list[str]:
        return [check for check, _ in asyncio.run(health.reasons())]

    health = Health(tmp_path, no_engine, LoopPulse())
    health.begin("preload", "m is being loaded")
    assert checks(health) == ["starting", "engine"]
    health.end("preload")
    health.is_draining = True
    assert checks(health) == ["draining", "engine"]
    assert checks(Health(tmp_path / "gone", lambda: None, LoopPulse())) == ["store"]
    monkeypatch.setattr("corral.operations.health._LEAST_FREE_BYTES", 1 << 80)
    assert checks(Health(tmp_path, lambda: None, LoopPulse())) == ["disk"]


def test_engines_that_cannot_be_started(tmp_path: Path) -> None:
    check_engine_exists(None, None)
    check_engine_exists(None, tmp_path)
    with pytest.raises(CorralError, match="cannot be run"):
        check_engine_exists(tmp_path / "llama-server", None)
    with pytest.raises(CorralError, match="does not exist any more"):
        check_engine_exists(None, tmp_path / "gone")


def test_a_stuck_loop_shows() -> None:
    """The lag grows while the loop does not answer, and signs of life stop."""
    signs: list[int] = []
    lag = LoopPulse(lambda: signs.append(1), 0.001)
    seen: list[float] = []
    held, seen_it = threading.Event(), threading.Event()

    def look() -> None:
        held.wait(60)
        count = len(signs)
        while lag.lag_s < 0.05:
            pass
        seen.append(lag.lag_s)
        assert len(signs) <= count + 1
        seen_it.set()

    async def run() -> None:
        lag.start()
        while not signs:
            await asyncio.sleep(0)
        held.set()
        seen_it.wait(60)  # holds the loop
        lag.stop()

    watcher = threading.Thread(target=look)
    watcher.start()
    asyncio.run(run())
    watcher.join(60)
    assert seen and seen[0] >= 0.05
