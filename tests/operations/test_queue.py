"""Who uses a model and who waits for one."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from corral.api.http.live import LiveRequests
from corral.cli.models.watch import queue_table
from corral.requestfacts import RequestFacts
from tests.conftest import Server
from tests.waiting import wait_until


def facts(model: str, stage: Any) -> RequestFacts:
    found = RequestFacts(wanted_model=model)
    if stage:
        found.enter(stage)
    return found


def test_positions_are_those_of_the_model() -> None:
    live = LiveRequests()
    stages = [("a", "running"), ("a", "slot"), ("b", "queued"), ("a", "slot"), ("c", "")]
    for model, stage in stages:
        live.begin(facts(model, stage), "/api/chat")
    found = [(place.request.facts.wanted_model, place.position, place.eta_ms) for place in live.places()]
    assert found == [("a", 0, None), ("a", 1, None), ("b", 1, None), ("a", 2, None)]


def test_what_is_expected_comes_from_those_that_ended() -> None:
    live = LiveRequests(lambda _model: 2)
    for work_ms in (1000, 2000):
        done = RequestFacts(served_model="a", first_piece_ns=1)
        done.begun_ns -= work_ms * 1_000_000
        live.end(live.begin(done, "/api/chat"))
    for _ in range(4):
        live.begin(facts("a", "slot"), "/api/chat")
    expected = [place.eta_ms for place in live.places()]
    assert all(value is not None for value in expected)
    first = expected[0]
    assert first is not None
    assert 600 <= first <= 700  # 1.2 s on average, by two slots
    assert [round(value / first, 3) for value in expected if value] == [1, 2, 3, 4]


def test_the_queue_of_a_server(fake_server: Callable[..., Server]) -> None:
    def queue() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.get("/api/queue")["queue"]
        return found

    server = fake_server({"OLLAMA_NUM_PARALLEL": "1"}, tokens=10**6, delay_s=0.002)

    def has_length(count: int) -> bool:
        return len(queue()) == count

    with ExitStack() as stack:
        for number in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            stack.callback(connection.close)
            connection.request("POST", "/api/generate", json.dumps({"model": "m", "prompt": str(number)}))
            wait_until(partial(has_length, number + 1))
        wait_until(lambda: [entry["state"] for entry in queue()] == ["running", "slot", "slot"])
        wait_until(lambda: queue()[0]["tokens"] > 0)
        entries = queue()
        assert [entry["position"] for entry in entries] == [0, 1, 2]
        assert {entry["model"] for entry in entries} == {"m:latest"}
        assert entries[2]["waited_ms"] > 0
    wait_until(lambda: not queue())


def test_a_table() -> None:
    entries = [
        {
            "id": "a",
            "model": "m:latest",
            "state": "running",
            "position": 0,
            "waited_ms": 1500.0,
            "tokens": 30,
        },
        {"id": "b", "model": "m:latest", "state": "slot", "position": 1, "waited_ms": 20.0, "eta_ms": 2500.0},
    ]
    before = {"a": (10.0, 10)}
    lines = queue_table(entries, before, 12.0).splitlines()
    assert lines[1].split() == ["a", "m:latest", "runs", "1.5", "s", "30", "10.0"]
    assert lines[2].split()[:8] == ["b", "m:latest", "waits", "for", "a", "slot,", "1.", "0.0"]
    assert before == {"a": (12.0, 30), "b": (12.0, 0)}


@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions", "/v1/messages"])
def test_a_full_queue_says_when_to_come_again(path: str, fake_server: Callable[..., Server]) -> None:
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_MAX_QUEUE": "1"}, tokens=10**6, delay_s=0.002)

    def has_length(count: int) -> bool:
        return len(server.get("/api/queue")["queue"]) == count

    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    with ExitStack() as stack:
        for number in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            stack.callback(connection.close)
            body = {"model": "m", "prompt": str(number)}
            if number < 2:
                connection.request("POST", "/api/generate", json.dumps(body))
                wait_until(partial(has_length, number + 1))
        connection.request("POST", path, json.dumps({**body, **chat} if path == "/v1/messages" else body))
        response = connection.getresponse()
        assert response.status == 503, response.read()
        assert int(response.headers["retry-after"]) >= 1
