"""Requests that somebody else ends: their clients get an error, and the engine stops."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from corral.api.http.live import LiveRequests, in_turn
from corral.caller import ANYBODY, Caller
from corral.requestfacts import RequestFacts
from tests.conftest import Server
from tests.waiting import wait_until

LONG = {"tokens": 10**6, "delay_s": 0.002}
MESSAGES = [{"role": "user", "content": "hi"}]
TEXT = "the request was cancelled on the server"


@pytest.fixture
def slow(fake_server: Callable[..., Server], tmp_path: Path) -> Server:
    """A server whose model never comes to an end; what its engine is asked is in `engine.log`."""
    return fake_server({"OLLAMA_NUM_PARALLEL": "1"}, log=tmp_path / "engine.log", **LONG)


class Sender:
    """Sends requests and leaves their answers for later."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack

    def __call__(
        self, path: str, body: dict[str, Any], request_id: str, **headers: str
    ) -> Callable[[], http.client.HTTPResponse]:
        """Send one; what is returned waits for the head of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=300)
        self._stack.callback(connection.close)
        connection.request("POST", path, json.dumps(body), {"X-Request-Id": request_id, **headers})

        def answer() -> http.client.HTTPResponse:
            response = connection.getresponse()
            self._stack.callback(response.close)
            return response

        return answer


@pytest.fixture
def send(slow: Server) -> Iterator[Sender]:
    with ExitStack() as stack:
        yield Sender(slow, stack)


def entry(server: Server, request_id: str) -> dict[str, Any]:
    found = [each for each in server.get("/api/queue")["queue"] if each["id"] == request_id]
    return found[0] if found else {}


def cancel(server: Server, request_id: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    status, body = server.request("DELETE", f"/api/requests/{request_id}", headers=headers)
    return status, json.loads(body)


STREAMS: dict[str, dict[str, Any]] = {
    "/api/chat": {"model": "m", "messages": MESSAGES},
    "/api/generate": {"model": "m", "prompt": "hi"},
    "/v1/chat/completions": {"model": "m", "messages": MESSAGES, "stream": True},
    "/v1/completions": {"model": "m", "prompt": "hi", "stream": True},
    "/v1/responses": {"model": "m", "input": "hi", "stream": True},
    "/v1/messages": {"model": "m", "messages": MESSAGES, "stream": True, "max_tokens": 10**6},
}


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_ends_with_an_error(slow: Server, send: Sender, path: str, tmp_path: Path) -> None:
    response = send(path, STREAMS[path], "one")()
    assert response.status == 200
    wait_until(lambda: entry(slow, "one").get("tokens", 0) > 3)
    assert cancel(slow, "one") == (200, {"cancelled": 1})
    lines = response.read().decode().rstrip().splitlines()
    assert TEXT in "\n".join(lines[-4:])
    wait_until(lambda: not slow.get("/api/queue")["queue"])
    wait_until(lambda: "cancelled" in (tmp_path / "engine.log").read_text(), "the engine goes on")
    wait_until(lambda: any("error=RequestCancelledError" in line and "id=one" in line for line in slow.log))


def test_an_answer_in_one_piece_has_a_status_that_no_client_tries_again(slow: Server, send: Sender) -> None:
    answer = send("/api/chat", {**STREAMS["/api/chat"], "stream": False}, "one")
    wait_until(lambda: entry(slow, "one").get("tokens", 0) > 3)
    assert cancel(slow, "one")[0] == 200
    response = answer()
    assert (response.status, json.loads(response.read())) == (499, {"error": TEXT})
    answer = send("/v1/chat/completions", {"model": "m", "messages": MESSAGES}, "two")
    wait_until(lambda: entry(slow, "two").get("tokens", 0) > 3)
    assert cancel(slow, "two")[0] == 200
    response = answer()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (499, "request_cancelled")


def test_who_waits_can_be_cancelled_and_the_next_one_moves_up(slow: Server, send: Sender) -> None:
    answers = {}
    for name in ("one", "two", "three"):
        answers[name] = send("/api/chat", STREAMS["/api/chat"], name)
        wait_until(lambda name=name: entry(slow, name).get("state") in ("running", "slot"))  # type: ignore[misc]
    wait_until(lambda: entry(slow, "three").get("position") == 2)
    assert cancel(slow, "two")[0] == 200
    response = answers["two"]()
    assert (response.status, response.getheader("X-Corral-Queue-Position")) == (499, "1")
    wait_until(lambda: entry(slow, "three").get("position") == 1)
    assert entry(slow, "one")["position"] == 0
    assert cancel(slow, "one")[0] == 200
    response = answers["three"]()
    assert (response.status, response.getheader("X-Corral-Queue-Position")) == (200, "2")
    assert answers["one"]().getheader("X-Corral-Queue-Position") in (
        None,
        "1",
    )  # it loaded the model


def test_while_a_model_is_loaded(fake_server: Callable[..., Server]) -> None:
    server = fake_server(load_hangs=1)
    with ExitStack() as stack:
        answer = Sender(server, stack)("/api/chat", STREAMS["/api/chat"], "one")
        wait_until(lambda: entry(server, "one").get("state") == "queued")
        assert cancel(server, "one")[0] == 200
        assert answer().status == 499
        assert not server.get("/api/queue")["queue"]


def test_an_id_that_nobody_has(server: Server) -> None:
    """It is an error that says so, in plain characters."""
    for wanted in ("nothing", "x" * 300, "%1b%5b31m"):
        status, body = cancel(server, wanted)
        assert status == 404, wanted
        assert "under way" in body["error"]
        assert "\x1b" not in body["error"]


def test_a_key_cancels_its_own_requests_and_an_admin_all(
    fake_server: Callable[..., Server], tmp_path: Path
) -> None:
    keys = KeyStore(tmp_path / "keys.sqlite3")
    orders = {
        "mine": KeyOrder("mine", scopes=("infer",)),
        "other": KeyOrder("other", scopes=("infer", "manage")),
        "chief": KeyOrder("chief", scopes=("admin",)),
        "reader": KeyOrder("reader", scopes=("read",)),
    }
    auth = {name: {"Authorization": f"Bearer {keys.create(order)[1]}"} for name, order in orders.items()}
    server = fake_server({"CORRAL_AUTH": "remote", "CORRAL_KEYS": str(keys.path)}, **LONG)
    with ExitStack() as stack:
        send = Sender(server, stack)
        for name in ("one", "two"):
            send("/api/chat", STREAMS["/api/chat"], name, **auth["mine"])
            wait_until(lambda name=name: entry(server, name).get("tokens", 0) > 1)  # type: ignore[misc]
        assert cancel(server, "one", auth["other"])[0] == 404
        assert cancel(server, "one", auth["reader"])[0] == 403
        assert cancel(server, "one", {"Authorization": "Bearer ck_wrong"})[0] in (200, 401)
        assert cancel(server, "two", auth["mine"])[0] == 200
        assert cancel(server, "one", auth["chief"])[0] in (200, 404)
        wait_until(lambda: not server.get("/api/queue")["queue"])


def test_callers_without_a_key_cancel_what_came_from_their_address() -> None:
    live = LiveRequests()
    ended = []
    strangers = [Caller(scopes=frozenset({"infer"}), address=address) for address in ("10.0.0.1", "10.0.0.2")]
    request = live.begin(RequestFacts("a"), "/api/chat", lambda: ended.append("a"))
    object.__setattr__(request, "who", strangers[0])
    assert live.cancel("a", strangers[1]) == 0
    assert live.cancel("a", strangers[0]) == live.cancel("a", ANYBODY) == 1
    assert ended == ["a", "a"]


def test_the_order_of_those_that_wait_is_that_of_their_arrival() -> None:
    live = LiveRequests()
    requests = [live.begin(RequestFacts(str(number)), "/") for number in range(3)]
    assert in_turn(iter(requests)) == requests
