"""Requests through a server that does not have the model: every API, lists, and what is done to models."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, chat
from tests.waiting import wait_until

ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", chat()),
    ("/api/chat", chat(stream=False)),
    ("/api/generate", {"model": "m", "prompt": "hello"}),
    ("/api/generate", {"model": "m", "prompt": "hello", "stream": False}),
    ("/api/generate", {"model": "m"}),
    ("/v1/chat/completions", chat()),
    ("/v1/chat/completions", chat(stream=True)),
    ("/v1/completions", {"model": "m", "prompt": "hello"}),
    ("/v1/completions", {"model": "m", "prompt": "hello", "stream": True}),
    ("/v1/messages", chat(max_tokens=5)),
    ("/v1/messages", chat(max_tokens=5, stream=True)),
    ("/v1/messages/count_tokens", chat()),
    ("/v1/responses", {"model": "m", "input": "hello"}),
    ("/v1/responses", {"model": "m", "input": "hello", "stream": True}),
    ("/api/tokenize", {"model": "m", "content": "hello"}),
    ("/api/detokenize", {"model": "m", "tokens": [0]}),
]


@pytest.mark.parametrize(("path", "body"), ROUTES, ids=[f"{path} {i}" for i, (path, _) in enumerate(ROUTES)])
def test_every_api_goes_to_a_node(trio: Cluster, path: str, body: dict[str, Any]) -> None:
    """With the same status and the same kind of answer as from the node itself."""
    there = trio.ask("b", path, body, headers={"X-Corral-Node": "b"})
    here = trio.ask("a", path, body)
    assert here.status == there.status == 200, here.body
    assert here.node in ("b", "c")
    assert here.headers["content-type"] == there.headers["content-type"]
    assert here.headers["x-request-id"] and "x-corral-usage" not in here.headers
    assert bool(here.lines if "json" in here.headers["content-type"] else here.events)


def test_what_a_node_says_of_a_request(trio: Cluster) -> None:
    """Errors of the request itself are those of a single server, and go to no second node."""
    body = chat(options={"temperature": "hot"})
    there = trio.ask("b", "/api/chat", body, headers={"X-Corral-Node": "b"})
    here = trio.ask("a", "/api/chat", body)
    assert (here.status, here.json()) == (there.status, there.json())
    assert here.status >= 400 and "attempt" not in here.headers["x-corral-node"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model":5}', b'{"messages":[]}', b'{"model":"nobody-has-it","messages":[]}']
)
def test_what_no_node_has(trio: Cluster, body: bytes) -> None:
    """It is answered as without a cluster."""
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
        answer = trio.ask("a", path, body, method="POST")
        assert 400 <= answer.status < 500 and "error" in answer.json(), (path, answer.body)


def test_names_in_any_letter_case(trio: Cluster) -> None:
    assert trio.ask("a", "/api/chat", {**chat(), "model": "M:Latest"}).status == 200
    body = json.dumps(chat()).replace('"model"', '"Model"').encode()
    assert trio.ask("a", "/api/chat", body).status == 200


def test_a_conversation_stays_where_it_is_warm(trio: Cluster) -> None:
    first = trio.ask("a", "/api/chat", chat("one conversation " * 100))
    for _ in range(3):
        again = trio.ask("a", "/api/chat", chat("one conversation " * 100))
        assert (again.node, again.why) == (first.node, "prefix")


def test_a_session_stays_together(trio: Cluster) -> None:
    nodes = {
        trio.ask("a", "/api/chat", chat(f"turn {i}"), headers={"X-Corral-Session": "s1"}).node
        for i in range(4)
    }
    assert len(nodes) == 1


def test_a_node_by_its_name(trio: Cluster) -> None:
    for name in "bc":
        answer = trio.ask("a", "/api/chat", chat("by name"), headers={"X-Corral-Node": name})
        assert answer.node == name
    answer = trio.ask("a", "/api/chat", chat(), headers={"X-Corral-Node": "nobody"})
    assert answer.status == 404 and "there is no node 'nobody'" in answer.json()["error"]


@pytest.mark.parametrize(("asked", "named"), [("a", "a"), ("b", "a")])
def test_a_node_by_its_name_answers_for_itself(trio: Cluster, asked: str, named: str) -> None:
    """Also for a model that it has not announced: it may have got it a moment ago."""
    answer = trio.ask(asked, "/api/chat", chat(), headers={"X-Corral-Node": named})
    assert (answer.status, answer.json()) == (404, {"error": "model 'm' not found"})
    assert answer.node == named


def test_lists_have_all_nodes(trio: Cluster) -> None:
    trio.ask("a", "/api/chat", chat(), headers={"X-Corral-Node": "b"})
    for name in "abc":
        (model,) = [
            entry for entry in trio.ask(name, "/api/tags").json()["models"] if entry["name"] == "m:latest"
        ]
        assert sorted(model["nodes"]) == ["b", "c"]
        assert model["size"] > 0 and model["details"]["format"] == "gguf"
        (listed,) = [
            entry for entry in trio.ask(name, "/v1/models").json()["data"] if entry["id"] == "m:latest"
        ]
        assert sorted(listed["nodes"]) == ["b", "c"]
        assert "b" in {entry["node"] for entry in trio.ask(name, "/api/ps").json()["models"]}
    assert trio.ask("a", "/v1/models/m").json()["id"] == "m"
    assert trio.ask("a", "/api/show", {"model": "m"}).json()["details"]["format"] == "gguf"
    assert trio.ask("a", "/api/show", {"model": "none"}).status == 404


def test_the_status_shows_everybody(trio: Cluster) -> None:
    nodes = trio.status("a")
    assert sorted(nodes) == ["a", "b", "c"]
    assert nodes["a"]["standing"] == "self" and nodes["b"]["standing"] == "heard"
    assert abs(nodes["b"]["clock_skew_ms"]) < 60_000
    assert nodes["b"]["models"] >= 1 and nodes["b"]["version"]


def test_usage_is_counted_once_at_the_gateway(trio: Cluster) -> None:
    """In the ledger of the server that the client asked, and in no other; tokens in the metrics of the node."""

    def figures(name: str) -> dict[str, int]:
        return dict(trio.ask(name, "/api/usage?by=model").json()["total"])

    before = {name: figures(name) for name in "abc"}
    for stream in (True, False):
        assert trio.ask("a", "/api/chat", chat("count", stream=stream)).status == 200
    after = {name: figures(name) for name in "abc"}
    grown = {name: after[name]["requests"] - before[name]["requests"] for name in "abc"}
    assert grown == {"a": 2, "b": 0, "c": 0}
    assert after["a"]["generated_tokens"] - before["a"]["generated_tokens"] == 10
    assert after["a"]["prompt_tokens"] > before["a"]["prompt_tokens"]
    metrics = {name: trio.ask(name, "/metrics").body.decode() for name in "abc"}
    assert 'corral_generated_tokens_total{model="m:latest"}' not in metrics["a"]
    assert 'corral_generated_tokens_total{model="m:latest"}' in metrics["b"] + metrics["c"]
    assert 'corral_cluster_requests_total{node="' in metrics["a"]
    assert 'corral_cluster_node_up{node="b"} 1' in metrics["a"]


def test_the_log_says_where_and_why(trio: Cluster) -> None:
    headers = {"X-Request-Id": "find-me-here"}
    answer = trio.ask("a", "/api/chat", chat("log"), headers=headers)
    assert answer.headers["x-request-id"] == "find-me-here"
    wait_until(lambda: any("id=find-me-here" in line for line in list(trio["a"].log)))
    (line,) = [line for line in trio["a"].log if "id=find-me-here" in line]
    assert f"node={answer.node} why={answer.why}" in line and "model=m" in line and "tokens=5" in line
    wait_until(lambda: any("id=find-me-here" in line for line in list(trio[answer.node].log)))


@pytest.mark.parametrize("size", [70_000, 2 << 20, 9 << 20])
def test_large_bodies(trio: Cluster, size: int) -> None:
    """Parsed in a thread or a worker, and sent once if they are larger than what is kept."""
    body = {"model": "m", "content": "word " * (size // 5)}
    there = trio.ask("b", "/api/tokenize", body, headers={"X-Corral-Node": "b"})
    here = trio.ask("a", "/api/tokenize", body)
    assert here.node in ("b", "c")
    assert (here.status, len(here.json()["tokens"])) == (there.status, len(there.json()["tokens"]))


def test_packed_bodies(trio: Cluster) -> None:
    packed = gzip.compress(json.dumps(chat("packed")).encode())
    answer = trio.ask("a", "/api/chat", packed, headers={"Content-Encoding": "gzip"})
    assert answer.status == 200 and answer.node in ("b", "c")
    for broken in (packed[:-4], b"\x1f\x8b" + b"\0" * 20):
        answer = trio.ask("a", "/api/chat", broken, headers={"Content-Encoding": "gzip"})
        assert answer.status == 400 and "error" in answer.json()


def test_a_form_goes_to_the_node_of_its_model(trio: Cluster) -> None:
    """With the answer that the node itself gives."""
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    path = "/v1/audio/transcriptions"
    there = trio.ask("b", path, form, headers={**headers, "X-Corral-Node": "b"})
    here = trio.ask("a", path, form, headers=headers)
    assert here.node in ("b", "c")
    assert (here.status, here.json()) == (there.status, there.json())
