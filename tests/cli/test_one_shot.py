"""One command on a terminal, or where nobody watches: progress, load, interrupts, a server in the background."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.cli.http.background import start_server
from corral.cli.http.client import Client
from corral.errors import CorralError
from corral.hostaddress import HostAddress
from tests.cli.replay import Replay
from tests.cli.screen import Screen
from tests.conftest import Server
from tests.ports import free_port
from tests.waiting import wait_until

GB = 10**9


def answer(path: str, body: Any, **more: Any) -> dict[str, Any]:
    kind = "ndjson" if isinstance(body, list) else "json"
    return {"method": "POST", "path": path, "json": None, "status": 200, "ctype": "application/json",
            "kind": kind, "body": body, **more}  # fmt: skip


def pulling(*, resumed: int = 0) -> list[dict[str, Any]]:
    """A pull of two layers as a server tells it."""
    layer = {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5aa3fc5ff", "total": 2 * GB}
    if resumed:
        layer["resumed"] = resumed
    small = {"status": "pulling a1b2c3d4e5f6", "digest": "sha256:a1b2c3d4e5f6", "total": 1500}
    return [
        {"status": "pulling manifest"},
        *({**layer, "completed": n * GB // 10} for n in range(resumed * 10 // GB, 21)),
        {**small, "completed": 1500},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_pull_on_a_terminal(
    replay: Callable[..., Replay], terminal: Callable[..., Screen], columns: int
) -> None:
    """One line for each layer and step, whatever the width; each is drawn over itself."""
    double = replay([answer("/api/pull", pulling(), pause_s=0.02)])
    screen = terminal(double.env, "pull", "m", columns=columns)
    assert screen.wait_for_end() == 0
    lines = [line for line in screen.lines if line]
    assert [line.split("▕")[0].split()[0:2] for line in lines] == [
        ["pulling", "manifest"],
        ["pulling", "dde5aa3fc5ff:"],
        ["pulling", "a1b2c3d4e5f6:"],
        ["verifying", "sha256"],
        ["writing", "manifest"],
        ["success"],
    ]
    assert "100%" in lines[1]
    assert ("▕" in lines[1]) == (columns >= 80)
    if columns == 80:
        assert lines[1] == "pulling dde5aa3fc5ff: 100% ▕██████████████████▏   2 GB"
    assert screen.raw.count("\x1b[?25l") == screen.raw.count("\x1b[?25h")


def test_a_pull_that_nobody_watches(replay: Callable[..., Replay]) -> None:
    """A line for each change on stderr, nothing on stdout, no control sequence."""
    double = replay([answer("/api/pull", pulling(resumed=GB))])
    result = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "pull", "m", "--limit-rate", "1.5M"],
        env=double.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "pulling manifest",
        "pulling dde5aa3fc5ff: resuming at 1 GB of 2 GB",
        "pulling dde5aa3fc5ff: 2 GB",
        "pulling a1b2c3d4e5f6: 1.5 KB",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert double.bodies("/api/pull") == [{"model": "m", "insecure": False, "rate_limit": 1_500_000}]


def test_an_interrupted_pull(replay: Callable[..., Replay], terminal: Callable[..., Screen]) -> None:
    """Ctrl-C ends it, the server notices, and the person is told that nothing is lost."""
    double = replay([answer("/api/pull", pulling(), pause_s=0.3)])
    screen = terminal(double.env, "pull", "m")
    screen.wait_for("pulling dde5aa3fc5ff")
    screen.type("\x03")
    assert screen.wait_for_end() == 130
    assert "stopped; the partial download is kept, `corral pull m` resumes it" in screen.text
    wait_until(lambda: any(request.get("cancelled") for request in double.requests))


def test_a_cloud_name(replay: Callable[..., Replay]) -> None:
    """A name that only exists elsewhere: what to type is said."""
    events = [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
    double = replay([
        answer("/api/show", {"capabilities": []}, json={"model": "big:cloud"}),
        answer("/api/show", {"error": "model 'big' not found"}, status=404),
        answer("/api/pull", events),
    ])  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "run", "big", "hi"],
        env=double.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.stderr.endswith(
        'Error: pull model manifest: file does not exist\n\n"big:cloud" is available as a cloud model. Try:\n'
        "  corral run big:cloud\n"
    )


def test_the_load_is_shown(fake_server: Callable[..., Server], terminal: Callable[..., Screen]) -> None:
    """While the model loads the spinner says how far it is; the answer takes its place."""
    server = fake_server(load_s=4)
    screen = terminal(server.env, "run", "m", "hello")
    told: list[dict[str, Any]] = []

    def is_shown() -> bool:
        told.extend(server.get("/api/loading")["loading"])
        return re.search(r"loading m [1-9]0%", screen.text) is not None

    screen.wait_for(is_shown)
    assert screen.wait_for_end() == 0
    assert {entry["name"] for entry in told} == {"m:latest"}
    shares = [entry["progress"] for entry in told]
    assert shares == sorted(shares)
    assert shares[-1] <= 1
    assert "loading" not in screen.text
    assert screen.lines[0].startswith("word WORD word")
    assert server.get("/api/loading") == {"loading": []}


def test_ctrl_c_ends_the_decoding(
    fake_server: Callable[..., Server], terminal: Callable[..., Screen], tmp_path: Path
) -> None:
    """The engine itself hears of it, and the command ends with success as the original's does."""
    log = tmp_path / "engine.log"
    server = fake_server(tokens=10_000, delay_s=0.02, log=log)
    screen = terminal(server.env, "run", "m", "talk")
    screen.wait_for("WORD word")
    screen.type("\x03")
    assert screen.wait_for_end() == 0
    wait_until(lambda: "cancelled" in log.read_text())


@pytest.mark.process
def test_a_server_in_the_background(tmp_path: Path) -> None:
    """`run --serve` and CORRAL_AUTOSERVE start one that stays; without them what to do is said."""
    port = free_port()
    env = {**_clean_env(), "HOME": str(tmp_path), "OLLAMA_HOST": f"127.0.0.1:{port}"}

    def corral(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "corral.cli.main", *words],
            env={**env, **more}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    refused = corral("run", "corral-tiny", "hi")
    assert refused.stderr == (
        "Error: could not connect to corral server, run 'corral serve' to start it\n"
        f"nothing is listening at http://127.0.0.1:{port} (from OLLAMA_HOST)\n"
    )
    started = corral("run", "--serve", "corral-tiny", "What is the capital of France?", "--think=false")
    pid = int(started.stderr.partition("process ")[2].partition(",")[0])
    try:
        assert started.returncode == 0, started.stderr
        assert "Paris" in started.stdout
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            assert response.read() == b"Ollama is running"
        assert "corral-tiny" in corral("list", CORRAL_AUTOSERVE="1").stdout
    finally:
        os.kill(pid, signal.SIGTERM)
    with pytest.raises(CorralError, match="a server can only be started on this machine"):
        start_server(Client(HostAddress.parse("192.0.2.1:1")))


@pytest.mark.process
def test_a_server_that_cannot_start(tmp_path: Path) -> None:
    """The end of its log says why."""
    env = {**_clean_env(), "HOME": str(tmp_path), "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
           "CORRAL_LLAMA_SERVER": "/no/such/engine", "CORRAL_AUTOSERVE": "yes"}  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "list"],
        env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "Error: the server ended with status 1" in result.stderr
    assert "llama-server binary not found" in result.stderr


def _clean_env() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
