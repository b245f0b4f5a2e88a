"""The log for programs: JSON lines, ids of requests, slow requests."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from corral.api.http.app import checked_id
from tests.conftest import Server
from tests.waiting import wait_until


def lines(server: Server, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in list(server.log) if line.startswith("{")]
    return [entry for entry in found if entry["message"].startswith(message)]


def ask(server: Server, request_id: str | None) -> str:
    """The id in the answer."""
    headers = {} if request_id is None else {"X-Request-Id": request_id}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        body = json.dumps({"model": "m", "prompt": "x", "stream": False})
        connection.request("POST", "/api/generate", body, headers)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        return response.getheader("X-Request-Id", "")


def test_json_lines_with_the_clients_id(fake_server: Callable[..., Server]) -> None:
    server = fake_server({"CORRAL_LOG_FORMAT": "json"}, tokens=3)
    assert ask(server, "abc-1.2_X") == "abc-1.2_X"
    wait_until(lambda: bool(lines(server, "request id=abc-1.2_X")))
    (entry,) = lines(server, "request id=abc-1.2_X")
    assert entry["request"] == "abc-1.2_X"
    assert (entry["path"], entry["status"], entry["model"], entry["tokens"]) == ("/api/generate", 200, "m", 3)
    assert entry["ms"] > 0
    (loading,) = lines(server, "loading model=m:latest")
    assert (loading["request"], loading["reason"], loading["slots"]) == ("abc-1.2_X", "not loaded", 4)
    assert ask(server, None)
    assert ask(server, "x y") != "x y"


def test_slow_requests_are_warnings(fake_server: Callable[..., Server]) -> None:
    server = fake_server({"CORRAL_LOG_SLOW": "1ms"}, tokens=20, delay_s=0.002)
    ask(server, "slow-one")
    wait_until(
        lambda: any(" WARNING corral.http slow request id=slow-one " in line for line in list(server.log))
    )


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\nb", "a=b", 'a"b', "\xff", "a/b"])
def test_ids_that_are_not_taken_over(given: str) -> None:
    assert checked_id(given.encode("latin-1")) == ""


@pytest.mark.parametrize("given", ["a", "x" * 64, "0af7651916cd43dd8448eb211c80319c", "A.b_c-1"])
def test_ids_that_are(given: str) -> None:
    assert checked_id(given.encode()) == given


def test_lines_of_the_engine_have_the_request(fake_server: Callable[..., Server]) -> None:
    """What an engine says before it dies, on one line and without its colours."""
    server = fake_server({"OLLAMA_DEBUG": "1"}, crash_at=2, last_words="\x1b[31mbad\x1b]0;x\x07 tensor")
    body = {"model": "m", "prompt": "x", "stream": False}
    assert server.request("POST", "/api/generate", body, {"X-Request-Id": "dying-one"})[0] == 500
    wait_until(
        lambda: any(" corral.engine model=m:latest request=dying-one GGML_ASSERT" in s for s in server.log)
    )
    wait_until(lambda: any(r"request=dying-one \x1b[31mbad\x1b]0;x\x07 tensor" in s for s in server.log))
    assert not [line for line in server.log if "\x1b" in line or "\x07" in line]
