"""One server of a node: started, started again, and never two at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corral.cluster.ray.backoff import Backoff
from corral.cluster.ray.serving import Phase, ServeOrder, ServerStatus, Serving
from corral.cluster.ray.single import holder, take
from tests.ports import free_port
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.process

# A server that is up at once, and says who it is in a file.
SERVER = """
import http.server, os, pathlib, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
with open("starts", "a") as file:
    print(os.getpid(), os.getsid(0), file=file)
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
def end(*_):
    if pathlib.Path("slow").exists():
        pathlib.Path("ending").touch()
        while not pathlib.Path("may_end").exists():
            time.sleep(0.01)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
server.serve_forever()
"""


@pytest.fixture
def order(tmp_path: Path) -> ServeOrder:
    port = free_port()
    program = f"import os; os.chdir({str(tmp_path)!r})\n{SERVER}"
    return ServeOrder(
        f"http://127.0.0.1:{port}",
        "127.0.0.1",
        port,
        tmp_path,
        {**os.environ, "PORT": str(port)},
        (sys.executable, "-c", program),
    )


@pytest.fixture
def start() -> Iterator[Callable[[ServeOrder], Serving]]:
    running: list[tuple[Serving, threading.Thread]] = []

    def begin(order: ServeOrder) -> Serving:
        serving = Serving(order, lambda: None, Backoff(0.01, 0.05))
        thread = threading.Thread(target=serving.run)
        thread.start()
        running.append((serving, thread))
        return serving

    yield begin
    for serving, thread in running:
        serving.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive() and serving.status.phase is Phase.STOPPED


def up(serving: Serving, starts: int = 1) -> ServerStatus:
    wait_until(lambda: serving.status.phase is Phase.SERVING and serving.status.starts >= starts, "no server")
    return serving.status


def test_a_server_that_dies_is_started_again(
    order: ServeOrder, start: Callable[[ServeOrder], Serving], tmp_path: Path
) -> None:
    serving = start(order)
    first = up(serving)
    assert holder(order.lock) == first.pid
    os.kill(first.pid, signal.SIGKILL)
    second = up(serving, 2)
    assert second.pid != first.pid and second.epoch != first.epoch
    lines = [line.split() for line in (tmp_path / "starts").read_text().splitlines()]
    assert [int(pid) for pid, _ in lines] == [first.pid, second.pid]
    assert all(pid == session for pid, session in lines), "each has a session of its own"


def test_stop_ends_it(order: ServeOrder, start: Callable[[ServeOrder], Serving]) -> None:
    serving = start(order)
    pid = up(serving).pid
    serving.stop()
    wait_until(lambda: serving.status.phase is Phase.STOPPED)
    assert not holder(order.lock)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_does_not_start_is_tried_again_and_says_why(
    order: ServeOrder, start: Callable[[ServeOrder], Serving]
) -> None:
    serving = start(
        replace(order, command=(sys.executable, "-c", "import sys; sys.exit('no models folder')"))
    )
    wait_until(lambda: serving.status.starts > 2 and serving.status.phase is Phase.WAITING)
    assert "status 1" in serving.status.detail and "no models folder" in serving.status.detail


def test_a_port_of_another_program_is_not_taken_for_the_server(
    order: ServeOrder, start: Callable[[ServeOrder], Serving], tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", order.port))
        other.listen()
        serving = start(order)
        wait_until(lambda: "another program listens on" in serving.status.detail)
        assert not serving.status.starts
    up(serving)


def test_a_server_that_hangs_is_killed(order: ServeOrder, start: Callable[[ServeOrder], Serving]) -> None:
    serving = start(replace(order, hang_s=0.5))
    first = up(serving)
    os.kill(first.pid, signal.SIGSTOP)
    assert up(serving, 2).pid != first.pid


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the holder, which is this process, gets a SIGTERM"
)
def test_a_second_one_waits_for_the_first(
    order: ServeOrder, start: Callable[[ServeOrder], Serving], tmp_path: Path
) -> None:
    """As after the death of an actor, while its server still writes answers."""
    lock = take(order.lock)
    serving = start(order)
    assert not (tmp_path / "starts").exists() and not serving.status.starts
    os.close(lock)
    assert holder(order.lock) in (0, up(serving).pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sends a signal when a parent dies")
def test_the_server_ends_with_its_actor_but_in_its_own_time(order: ServeOrder, tmp_path: Path) -> None:
    """Answers under way come to their end; the server is not killed."""
    (tmp_path / "slow").touch()
    actor = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, os\n"
            "from corral.cluster.ray.serving import ServeOrder, Serving\n"
            f"order = ServeOrder({order.url!r}, '127.0.0.1', {order.port}, pathlib.Path({str(tmp_path)!r}),"
            f" {{**os.environ, 'PORT': '{order.port}'}}, {order.command!r})\n"
            "Serving(order, lambda: None).run()",
        ]
    )
    wait_until(lambda: (tmp_path / "starts").exists() and holder(order.lock))
    pid = int((tmp_path / "starts").read_text().split()[0])
    wait_until(lambda: is_listening(order.port))
    actor.kill()
    actor.wait()
    wait_until((tmp_path / "ending").exists, "the server was not asked to end")
    assert holder(order.lock) == pid
    (tmp_path / "may_end").touch()
    wait_until(lambda: not holder(order.lock))


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
