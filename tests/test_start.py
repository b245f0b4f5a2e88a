"""Starts that fail, starts on folders that cannot be written, logs that nobody reads, and ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.ports import free_port

pytestmark = pytest.mark.process

Start = Callable[..., Server]
COMMAND = [sys.executable, "-m", "corral.cli.main", "serve"]


def serve(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
    settings = {"HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:0", "OLLAMA_MODELS": str(tmp_path / "m")}
    return subprocess.run(
        COMMAND, env={**clean, **settings, **env}, capture_output=True, text=True, timeout=60, check=False
    )


def fails_with(done: subprocess.CompletedProcess[str], text: str) -> None:
    assert done.returncode == 1, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, "a line, and perhaps one with advice"


def test_a_models_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("x")
    fails_with(serve(tmp_path), "not a folder")


def test_a_models_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    fails_with(serve(tmp_path, OLLAMA_MODELS=str(tmp_path / "file" / "m")), "not a directory")


def test_a_models_folder_that_is_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "m").symlink_to("/nonexistent/x")
    fails_with(serve(tmp_path), "which does not exist")


def test_a_models_folder_that_cannot_be_made(tmp_path: Path) -> None:
    fails_with(serve(tmp_path, OLLAMA_MODELS="/proc/models"), "models folder /proc/models")


@pytest.mark.parametrize("host", [":99999", ":80x", "unix://x", "/x.sock", "ftp://localhost"])
def test_addresses_that_are_none(tmp_path: Path, host: str) -> None:
    fails_with(serve(tmp_path, OLLAMA_HOST=host), "OLLAMA_HOST")


@pytest.mark.parametrize(
    ("host", "text"),
    [("203.0.113.7:1", "cannot assign requested address"), ("no.such.host.invalid:1", "lookup")],
)
def test_addresses_of_others(tmp_path: Path, host: str, text: str) -> None:
    fails_with(serve(tmp_path, OLLAMA_HOST=host), text)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails_with(serve(tmp_path, OLLAMA_HOST=f"127.0.0.1:{port}"), "address already in use")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be mounted for reading alone, empty."""
    folder = tmp_path / "ro"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("file systems can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_store_that_can_only_be_read_is_served(start_server: Start, read_only: Path) -> None:
    first = start_server()
    first.post("/api/pull", {"model": "corral-tiny", "stream": False})
    shutil.copytree(first.folder, read_only / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(read_only)], check=True)
    server = start_server(OLLAMA_MODELS=str(read_only / "store"))
    call = {"model": "corral-tiny", "prompt": "hi", "stream": False, "options": {"num_predict": 2}}
    assert server.post("/api/generate", call)["done"]
    status, answer = server.request("POST", "/api/copy", {"source": "corral-tiny", "destination": "x"})
    assert status == 500 and b"read-only file system" in answer
    log = "".join(server.log)
    assert "cannot be written: models are served" in log
    assert "Traceback" not in log


def test_a_public_address_is_told_loudly(start_server: Start) -> None:
    server = start_server(OLLAMA_HOST="0.0.0.0:0")
    (line,) = [line for line in server.log if "ANYONE WHO CAN REACH" in line]
    assert "OLLAMA_HOST=127.0.0.1" in line and "corral key create NAME" in line


def test_names_from_clients_cannot_forge_lines(server: Server) -> None:
    before = len(server.log)
    path = "/x%0a2026-11-30T00:00:00.000%20INFO%20corral.http%20FORGED%e2%80%a8%1b[31m%c2%9b"
    assert server.request("GET", path)[0] == 404
    assert server.request("POST", "/api/show", {"model": "a\n\x1b[31m\u2028FORGED"})[0] == 400
    assert server.request("GET", "/api/tags?x", headers={"Host": "evil\x85FORGED"})[0] in (400, 403)
    assert server.request("GET", "/api/loadinG")[0] == 404  # its line comes after the others
    while not any("/api/loadinG" in line for line in server.log[before:]):
        pass
    lines = server.log[before:]
    assert not [line for line in lines if not line[:4].isdigit()]
    assert not set("".join(lines)) & set("\x1b\x85\x9b\u2028\r")
    assert "\\nINFO" not in "".join(lines) and "\\n2026-11-30" in "".join(lines)


def test_polls_leave_no_lines(server: Server) -> None:
    before = len(server.log)
    for _ in range(20):
        server.get("/api/version")
        server.get("/api/loading")
        server.request("HEAD", "/")
    server.request("GET", "/api/nothinG")
    while not any("/api/nothinG" in line for line in server.log[before:]):
        pass
    assert len([line for line in server.log[before:] if "request id" in line]) == 1


@contextlib.contextmanager
def started(tmp_path: Path, **popen: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server whose standard streams are the test's own, and its address."""
    port = free_port()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
    env = {**clean, "HOME": str(tmp_path), "OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(tmp_path)}
    process = subprocess.Popen(COMMAND, env={**env, "OLLAMA_DEBUG": "1"}, **popen)
    try:
        base = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            try:
                urllib.request.urlopen(base + "/", timeout=60).close()
                break
            except OSError:
                continue
        yield process, base
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_log_that_nobody_reads(tmp_path: Path) -> None:
    """`subprocess.PIPE` without a reader: the server goes on, and ends when it is told to."""
    read_end, write_end = os.pipe()
    try:
        with started(tmp_path, stdout=write_end, stderr=write_end) as (process, base):
            for _ in range(1500):
                urllib.request.urlopen(base + "/api/version", timeout=60).close()
            process.terminate()
            process.wait(60)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_log_whose_reader_left(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with started(tmp_path, stdout=write_end, stderr=write_end) as (process, base):
        os.close(write_end)
        os.close(read_end)
        for _ in range(50):
            urllib.request.urlopen(base + "/api/version", timeout=60).close()
        process.terminate()
        assert process.wait(60) == 0


def test_a_log_on_a_full_disk(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, started(tmp_path, stdout=full, stderr=full) as (process, base):
        for _ in range(50):
            urllib.request.urlopen(base + "/api/version", timeout=60).close()
        process.terminate()
        assert process.wait(60) == 0


def test_closed_standard_streams(tmp_path: Path) -> None:
    """No connection gets the number of standard error, and with it the log."""
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "COMMAND", shell)
        with started(tmp_path) as (process, base):
            for _ in range(20):
                assert b'"version"' in urllib.request.urlopen(base + "/api/version", timeout=60).read()
            assert os.readlink(f"/proc/{process.pid}/fd/2") == "/dev/null"
            process.terminate()
            assert process.wait(60) == 0


def begin(server: Server, path: str, body: dict[str, Any], answers: dict[str, bytes]) -> threading.Thread:
    """Read a stream to its end in a thread; returns when the first line has come."""
    first = threading.Event()

    def read() -> None:
        request = urllib.request.Request(server.base + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as response:
            answers[path] = response.readline()
            first.set()
            with contextlib.suppress(OSError, http.client.IncompleteRead):
                answers[path] += response.read()

    thread = threading.Thread(target=read)
    thread.start()
    assert first.wait(60)
    return thread


MESSAGES = [{"role": "user", "content": "x"}]
CHAT = {"model": "m", "messages": MESSAGES}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_streams_with_an_error_line(fake_server: Start, number: signal.Signals) -> None:
    """Each in the form of its surface; the process ends, and its children with it."""
    server = fake_server(
        {"OLLAMA_NUM_PARALLEL": "8", "CORRAL_DRAIN_TIMEOUT": "1s"}, tokens=100_000, delay_s=0.01
    )
    answers: dict[str, bytes] = {}
    options = {"num_ctx": 200_000}
    threads = [
        begin(server, "/api/generate", {"model": "m", "prompt": "x", "options": options}, answers),
        begin(server, "/api/chat", {**CHAT, "options": options}, answers),
        begin(server, "/v1/chat/completions", {**CHAT, "stream": True, "options": options}, answers),
        begin(
            server, "/v1/messages", {**CHAT, "max_tokens": 99999, "stream": True, "options": options}, answers
        ),
        begin(
            server, "/v1/responses", {"model": "m", "input": "x", "stream": True, "options": options}, answers
        ),
    ]
    children = server.children()
    assert children
    server.process.send_signal(number)
    assert server.process.wait(60) == 0
    for thread in threads:
        thread.join(60)
    text = b"the server is shutting down"
    for path in ("/api/generate", "/api/chat"):
        error = {"error": text.decode(), "hint": "try again when it is back"}
        assert json.loads(answers[path].splitlines()[-1]) == error
    assert b'data: {"error":{' in answers["/v1/chat/completions"]
    assert b"event: error\n" in answers["/v1/messages"]
    assert b"event: response.failed\n" in answers["/v1/responses"]
    assert all(text in answer for answer in answers.values())
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}/exe")]


def test_a_short_answer_may_still_end(fake_server: Start) -> None:
    """What needs a moment more gets it."""
    server = fake_server(tokens=30, delay_s=0.02)
    answers: dict[str, bytes] = {}
    thread = begin(server, "/api/generate", {"model": "m", "prompt": "x"}, answers)
    server.process.terminate()
    assert server.process.wait(60) == 0
    thread.join(60)
    last = json.loads(answers["/api/generate"].splitlines()[-1])
    assert last.get("done") or "shutting down" in last["error"]


def test_a_second_signal_ends_at_once(fake_server: Start) -> None:
    server = fake_server(tokens=100_000, delay_s=0.01)
    answers: dict[str, bytes] = {}
    body = {"model": "m", "prompt": "x", "options": {"num_ctx": 200_000}}
    thread = begin(server, "/api/generate", body, answers)
    children = server.children()
    server.process.terminate()
    while not any("stopping signal=SIGTERM" in line for line in server.log):
        pass
    server.process.terminate()
    assert server.process.wait(60) == 1
    thread.join(60)
    for pid in children:
        while os.path.exists(f"/proc/{pid}/exe"):
            pass


def test_a_signal_while_it_starts(start_server: Start) -> None:
    """As soon as it says that it listens, it ends properly."""
    server = start_server()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
