"""Why models were loaded and unloaded, over HTTP and on the command line."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

from corral.cli.tools.events import line_of
from tests.conftest import PLAIN_TEMPLATE, Server


def ask(server: Server, model: str) -> None:
    server.post("/api/generate", {"model": model, "prompt": "x y", "stream": False})


def listed(server: Server, **headers: str) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with closing(connection):
        connection.request("GET", "/api/events", headers={"Accept": "application/json", **headers})
        response = connection.getresponse()
        assert response.status == 200
        found: list[dict[str, Any]] = json.loads(response.read())["events"]
        return found


def test_a_model_makes_room_for_another(fake_server: Callable[..., Server]) -> None:
    server = fake_server({"OLLAMA_MAX_LOADED_MODELS": "1"}, tokens=3)
    server.create("n", "tiny", template=PLAIN_TEMPLATE)
    ask(server, "m")
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", "/api/events")
        stream = connection.getresponse()
        assert stream.getheader("content-type") == "text/event-stream"
        ask(server, "n")
        events: list[dict[str, Any]] = []
        while not any(event["event"] == "loaded" and event["model"] == "n:latest" for event in events):
            line = stream.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
        stream.close()
    kinds = [(event["event"], event["model"]) for event in events if event["event"] != "queued"]
    assert kinds == [
        ("loading", "m:latest"),
        ("loaded", "m:latest"),
        ("unloaded", "m:latest"),
        ("loading", "n:latest"),
        ("loaded", "n:latest"),
    ]
    (unloaded,) = (event for event in events if event["event"] == "unloaded")
    assert unloaded["reason"] == "room for n:latest: limit of 1 loaded model"
    assert unloaded["cause"] == "room"
    assert unloaded["request"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert listed(server) == events
    assert listed(server, **{"Last-Event-ID": "2"}) == events[2:]
    assert listed(server, **{"Last-Event-ID": "x" * 5000}) == events

    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "events", "n"],
        env=server.env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if "queued" not in line]
    assert "  n:latest  loading: not loaded  " in lines[0]
    assert "  n:latest  loaded  " in lines[1]
    assert len(lines) == 2


def test_the_command_follows(fake_server: Callable[..., Server]) -> None:
    server = fake_server({}, tokens=3)
    with subprocess.Popen(
        [sys.executable, "-m", "corral.cli.main", "events", "--follow", "--json"],
        env=server.env, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        ask(server, "m")
        assert json.loads(process.stdout.readline())["event"] == "loading"
        process.terminate()


def test_a_line() -> None:
    event = {
        "id": 3, "at": "2026-11-30T11:22:33.5Z", "event": "loading", "model": "m", "cause": "wanted",
        "reason": "not loaded", "num_ctx": 4096, "predicted_bytes": 72_000_000, "seconds": 0.1234, "request": "a",
    }  # fmt: skip
    assert line_of(event) == (
        "11:22:33  m  loading: not loaded  num_ctx=4096 predicted_bytes=72MB seconds=0.12 request=a"
    )
    assert line_of({"event": "loaded", "model": "m"}) == "  m  loaded"
