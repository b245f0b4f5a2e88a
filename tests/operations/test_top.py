"""`/api/top`, and where the next request of a model would be."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from corral.api.http.live import LiveRequests
from corral.api.operations.memory import MemoryLook
from corral.gpus import GPU
from corral.requestfacts import RequestFacts
from tests.conftest import Server
from tests.waiting import wait_until


def test_what_a_server_does(fake_server: Callable[..., Server]) -> None:
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1", "CORRAL_METRICS": "0"}, tokens=10**6, delay_s=0.002)
    top = server.get("/api/top")
    assert (top["models"], top["requests"], top["recent"]) == ([], [], [])
    assert 0 < top["memory"]["free"] <= top["memory"]["total"]
    body = {"model": "m", "prompt": "a"}
    with ExitStack() as stack:
        for name in ("one", "two"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            stack.callback(connection.close)
            connection.request("POST", "/api/generate", json.dumps(body), {"X-Request-Id": name})
            wait_until(
                lambda name=name: any(e["id"] == name for e in server.get("/api/queue")["queue"])  # type: ignore[misc]
            )
        wait_until(lambda: server.get("/api/top")["models"][0].get("generated_tokens", 0) > 5)
        wait_until(lambda: server.get("/api/top")["models"][0]["waiting"] == 1)
        top = server.get("/api/top")
        model = top["models"][0]
        found = {name: model[name] for name in ("name", "state", "slots", "running", "waiting")}
        assert found == {"name": "m:latest", "state": "loaded", "slots": 1, "running": 1, "waiting": 1}
        first, second = top["requests"]
        assert (first["id"], first["state"], first["position"]) == ("one", "running", 0)
        assert first["tokens_per_s"] > 0
        assert (second["id"], second["state"], second["position"]) == ("two", "slot", 1)
        [entry] = server.get("/api/ps")["models"]
        expected = {"slots": 1, "running": 1, "waiting": 1, "position": 2}
        assert {name: entry["queue"][name] for name in expected} == expected
        for name in ("two", "one"):
            assert server.request("DELETE", f"/api/requests/{name}")[0] == 200
        wait_until(lambda: len(server.get("/api/top")["recent"]) == 2)
    recent = server.get("/api/top")["recent"]
    assert {(each["id"], each["error"]) for each in recent} == {
        ("one", "RequestCancelledError"), ("two", "RequestCancelledError"),
    }  # fmt: skip
    made = server.get("/api/top")["models"][0]["generated_tokens"]
    assert made == sum(each["tokens"] for each in recent)
    [entry] = server.get("/api/ps")["models"]
    assert "queue" not in entry  # whoever comes next does not wait


def test_a_short_answer_is_among_the_recent_ones(server: Server) -> None:
    headers = {"X-Request-Id": "recent-one"}
    body = {"model": "say", "prompt": "hi", "stream": False, "options": {"num_predict": 5}}
    assert server.request("POST", "/api/generate", body, headers)[0] == 200
    found = [each for each in server.get("/api/top")["recent"] if each["id"] == "recent-one"]
    assert [(each["model"], each["status"], each["path"]) for each in found] == [
        ("say:latest", 200, "/api/generate")
    ]
    assert found[0]["prompt_tokens"] > 0
    assert found[0]["tokens"] > 0


def facts(model: str, stage: Any) -> RequestFacts:
    found = RequestFacts(wanted_model=model)
    found.enter(stage)
    return found


def test_where_the_next_request_would_be() -> None:
    live = LiveRequests(lambda _model: 2)
    assert live.next_place("a", 1).position == 0
    assert live.next_place("a", 2).position == 1
    live.begin(facts("a", "slot"), "/")
    live.begin(facts("b", "slot"), "/")
    place = live.next_place("a", 2)
    assert (place.waiting, place.position, place.eta_ms) == (1, 2, None)
    # A slot has come free, and who waits for it has not got it yet.
    assert live.next_place("a", 1).position == 2


def test_tokens_of_unfinished_replies_count() -> None:
    live = LiveRequests()
    request = live.begin(RequestFacts(served_model="a"), "/")
    request.facts.note_pieces(3)
    assert live.made_tokens() == {"a": 3}
    live.end(request)
    assert live.made_tokens() == {"a": 3}
    for number in range(300):
        other = live.begin(RequestFacts(served_model=str(number)), "/")
        other.facts.note_pieces(1)
        live.end(other)
    assert len(live.made_tokens()) == 200


def test_a_driver_that_does_not_answer_holds_up_only_the_first_look() -> None:
    """Devices are looked up beside the answers, once at a time."""
    may_end, looks = threading.Event(), []
    card = GPU(0, "Card", "cuda", 100, 40, device="CUDA0")

    def read(_total: int, _free: int) -> tuple[GPU, ...]:
        looks.append(1)
        may_end.wait(60)
        return (card,)

    async def look() -> None:
        memory = MemoryLook(read)
        for _ in range(3):
            assert (await memory.fields())["devices"] == []
        assert len(looks) == 1
        may_end.set()
        found: list[Any] = []
        while not found:
            await asyncio.sleep(0.01)
            found = (await memory.fields())["devices"]
        assert found == [{"name": "CUDA0", "description": "Card", "total": 100, "free": 40}]
        assert len(looks) == 1

    asyncio.run(look())
