"""`/v1/messages` and `/v1/responses` when something goes wrong: clients that leave, engines that die, full queues."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.waiting import PATIENCE_S, wait_until

BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"model": "m", "max_tokens": 10**6, "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"model": "m", "input": "x", "store": True},
}
SHORT = {"/v1/messages": {"max_tokens": 3}, "/v1/responses": {"max_output_tokens": 3}}
both = pytest.mark.parametrize("path", BODIES)


def events(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.partition(b"data: ")[2]) for frame in data.split(b"\n\n") if frame.strip()]


@both
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_decoder(
    fake_server: Callable[..., Server], tmp_path: Path, path: str, stream: bool
) -> None:
    """Soon after it has left the engine's slot is free, and nothing of the reply is kept."""
    log = tmp_path / "log"
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1"}, tokens=10**6, delay_s=0.002, log=log)
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    data = json.dumps({**BODIES[path], "stream": stream}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    wait_until(lambda: log.exists() and "start" in log.read_text())
    connection.close()
    wait_until(lambda: "cancelled" in log.read_text())
    status, _ = server.request("POST", path, {**BODIES[path], **SHORT[path], "store": False})
    assert status == 200
    assert not (server.folder / ".ollama" / "responses.sqlite3").exists()


@both
def test_an_engine_that_dies(fake_server: Callable[..., Server], path: str) -> None:
    """Before the first token it is an error with its status, behind it an event; the next request loads anew."""
    server = fake_server(tokens=20, crash_at=10)
    status, data = server.request("POST", path, {**BODIES[path], "stream": True})
    assert status == 200
    found = events(data)
    if path == "/v1/messages":
        assert [event["type"] for event in found][:3] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
        ]
        assert found[-1]["type"] == "error"
        assert found[-1]["error"]["type"] == "api_error"
        assert found[-1]["error"]["message"]
    else:
        assert [event["sequence_number"] for event in found] == list(range(len(found)))
        assert found[-1]["type"] == "response.failed"
        assert found[-1]["response"]["error"]["message"]
        kept_status, _ = server.request("GET", f"/v1/responses/{found[0]['response']['id']}")
        assert kept_status == 404
    status, data = server.request("POST", path, BODIES[path])
    assert status == 500
    error = json.loads(data)["error"]
    assert error["type"] == "api_error"
    status, _ = server.request("POST", path, {**BODIES[path], **SHORT[path]})
    assert status == 200


@both
def test_a_load_that_fails(fake_server: Callable[..., Server], path: str) -> None:
    """A plain error, streamed or not."""
    server = fake_server(load_fails="no such tensor")
    for stream in (True, False):
        status, data = server.request("POST", path, {**BODIES[path], "stream": stream})
        assert status == 500
        assert "no such tensor" in json.loads(data)["error"]["message"]


@both
def test_bodies_are_bounded(fake_server: Callable[..., Server], path: str) -> None:
    """In size and in depth, in the surface's own form."""
    server = fake_server({"CORRAL_MAX_BODY_BYTES": "1000", "CORRAL_MAX_JSON_DEPTH": "20"})
    status, data = server.request("POST", path, {**BODIES[path], "metadata": {"x": "y" * 2000}})
    assert status == 413
    assert "CORRAL_MAX_BODY_BYTES" in json.loads(data)["error"]["message"]
    deep: Any = "x"
    for _ in range(30):
        deep = [deep]
    status, data = server.request("POST", path, {**BODIES[path], "metadata": {"x": deep}})
    assert status == 400
    assert json.loads(data)["error"]["type"] == "invalid_request_error"


def test_the_headers_of_a_stream(fake_server: Callable[..., Server]) -> None:
    """What proxies look at: no caching."""
    server = fake_server(tokens=3)
    for path, body in BODIES.items():
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
        data = json.dumps({**body, "stream": True}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        connection.close()
        headers = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"content-type: text/event-stream" in headers
        assert b"cache-control: no-cache" in headers


def test_parameters_of_kept_responses(fake_server: Callable[..., Server]) -> None:
    """Ids of any form are looked up and nothing else; a wrong limit is refused."""
    server = fake_server(tokens=3)
    made = server.post("/v1/responses", BODIES["/v1/responses"])
    for strange in ("..%2f..%2fetc", "%27%20OR%201=1", "x" * 500, "%00"):
        for method in ("GET", "DELETE"):
            status, _ = server.request(method, f"/v1/responses/{strange}")
            assert status == 404
    status, data = server.request("GET", f"/v1/responses/{made['id']}/input_items?limit=0")
    assert status == 400
    assert "limit" in json.loads(data)["error"]["message"]
    status, _ = server.request("PUT", f"/v1/responses/{made['id']}")
    assert status == 405


@both
def test_cloud_names(fake_server: Callable[..., Server], path: str) -> None:
    """Refused in the native form, as the real server does before it looks at the surface."""
    server = fake_server()
    status, data = server.request("POST", path, {**BODIES[path], "model": "m:cloud"})
    assert status == 403
    assert json.loads(data) == {"error": "ollama cloud is disabled: remote model is unavailable"}


def test_users_in_the_log(fake_server: Callable[..., Server]) -> None:
    """Whoever the client says it asks for."""
    server = fake_server(tokens=3)
    server.post("/v1/messages", {**BODIES["/v1/messages"], "metadata": {"user_id": "ann"}})
    server.post("/v1/responses", {**BODIES["/v1/responses"], "user": "bob"})
    wait_until(lambda: all(any(name in line for line in server.log) for name in ("ann", "bob")))
