"""Classes of keys and requests, from the key to the order in which an engine serves them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from corral.access.keys import read_order
from corral.errors import InvalidRequestError
from corral.priorities import PRIORITIES
from tests.access.conftest import KeyedServer, bearer
from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def shared(process: None) -> Iterator[KeyedServer]:
    """One slot, and answers that do not end by themselves. Local requests without a key are of the class batch."""
    server = KeyedServer(
        CORRAL_AUTH="remote",
        CORRAL_PRIORITY="batch",
        OLLAMA_NUM_PARALLEL="1",
        CORRAL_LLAMA_SERVER=str(FAKE_ENGINE),
        CORRAL_ENGINE_ENV="FAKE_*",
        FAKE_TOKENS="1000000",
        FAKE_DELAY_S="0.002",
    )
    try:
        server.create("m", "say", template=PLAIN_TEMPLATE)
        for priority in PRIORITIES:
            server.texts[priority] = server.make(
                f"{priority} one", priority=priority, scopes=("infer", "read")
            )
        yield server
    finally:
        server.close()


class Clients:
    """Requests under way, by number; the queue as an admin sees it."""

    def __init__(self, server: KeyedServer, stack: ExitStack) -> None:
        self.server = server
        self.stack = stack
        self.connections: dict[str, http.client.HTTPConnection] = {}

    def ask(self, name: str, headers: dict[str, str]) -> None:
        """Send a request, and wait until the server has it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        self.stack.callback(connection.close)
        self.connections[name] = connection
        body = json.dumps({"model": "m", "prompt": "x"})
        connection.request("POST", "/api/generate", body, {"X-Request-Id": name, **headers})
        wait_until(lambda: name in self.ids())

    def leave(self, name: str) -> None:
        self.connections.pop(name).close()
        wait_until(lambda: name not in self.ids())

    def queue(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.get("/api/queue")["queue"]
        return sorted(found, key=lambda entry: entry["position"])

    def ids(self) -> list[str]:
        return [entry["id"] for entry in self.queue()]

    def running(self) -> list[str]:
        return [entry["id"] for entry in self.queue() if entry["state"] == "running"]


@pytest.fixture
def clients(shared: KeyedServer) -> Iterator[Clients]:
    with ExitStack() as stack:
        found = Clients(shared, stack)
        yield found
    wait_until(lambda: not found.ids())


def test_an_urgent_request_is_next_whatever_waits(clients: Clients) -> None:
    """A key for batches has thirty requests waiting when one comes that somebody waits for."""
    batch, interactive = clients.server.auth("batch"), clients.server.auth("interactive")
    clients.ask("first", batch)
    wait_until(lambda: clients.running() == ["first"])
    for number in range(30):
        clients.ask(f"b{number}", batch)
    assert [entry["position"] for entry in clients.queue()] == list(range(31))
    clients.ask("urgent", interactive)
    entries = clients.queue()
    assert [entry["id"] for entry in entries] == ["first", "urgent", *(f"b{number}" for number in range(30))]
    assert {entry["priority"] for entry in entries} == {"batch", "interactive"}
    clients.leave("first")
    wait_until(lambda: clients.running() == ["urgent"])
    clients.leave("urgent")
    wait_until(lambda: clients.running() == ["b0"])


def test_keys_of_a_class_take_turns(clients: Clients) -> None:
    server = clients.server
    one, other = (bearer(server.make(f"turn {name}", scopes=("infer",))) for name in "ab")
    clients.ask("first", one)
    wait_until(lambda: clients.running() == ["first"])
    for number in range(10):
        clients.ask(f"a{number}", one)
    clients.leave("first")
    wait_until(lambda: clients.running() == ["a0"])
    clients.ask("single", other)
    assert clients.ids()[:2] == ["a0", "single"]
    clients.leave("a0")
    wait_until(lambda: clients.running() == ["single"])


def test_a_request_may_be_less_urgent_than_its_key_and_never_more(clients: Clients) -> None:
    server = clients.server
    wanted = [
        ("interactive", "batch", "batch"),
        ("interactive", " Normal", "normal"),
        ("interactive", "interactive", "interactive"),
        ("batch", "interactive", "batch"),
        ("normal", "interactive", "normal"),
        ("normal", "", "normal"),
    ]
    for number, (key, header, _) in enumerate(wanted):
        clients.ask(str(number), {**server.auth(key), **({"X-Corral-Priority": header} if header else {})})
    found = {entry["id"]: entry["priority"] for entry in clients.queue()}
    assert found == {str(number): priority for number, (_, _, priority) in enumerate(wanted)}


def test_requests_without_a_key_have_the_class_of_the_setting(clients: Clients) -> None:
    clients.ask("plain", {})
    clients.ask("more", {"X-Corral-Priority": "interactive"})
    assert [entry["priority"] for entry in clients.queue()] == ["batch", "batch"]
    assert all("key" not in entry for entry in clients.queue())


@pytest.mark.parametrize(
    "path",
    ["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/embed"],
)
def test_a_class_that_does_not_exist_is_an_error(shared: KeyedServer, path: str) -> None:
    headers = {**shared.auth("interactive"), "X-Corral-Priority": "high"}
    status, data = shared.request("POST", path, {"model": "m"}, headers)
    assert status == 400
    text = json.dumps(json.loads(data))
    assert "X-Corral-Priority" in text and "interactive, normal, batch" in text


def test_keys_over_http(shared: KeyedServer) -> None:
    status, data = shared.request("POST", "/api/keys", {"name": "p", "priority": "Batch"})
    made = json.loads(data)
    assert (status, made["priority"]) == (201, "batch")
    assert (
        json.loads(shared.request("GET", "/api/keys/me", headers=bearer(made["key"]))[1])["priority"]
        == "batch"
    )
    assert json.loads(shared.request("POST", "/api/keys", {"name": "q"})[1])["priority"] == "normal"
    rotated = json.loads(shared.request("POST", f"/api/keys/{made['id']}/rotate", {})[1])
    assert rotated["priority"] == "batch"
    status, data = shared.request("POST", "/api/keys", {"name": "r", "priority": "urgent"})
    assert status == 400 and b"interactive, normal, batch" in data


def test_orders() -> None:
    assert read_order({"name": "x"}).priority == "normal"
    assert read_order({"name": "x", "priority": "interactive"}).priority == "interactive"
    with pytest.raises(InvalidRequestError, match="priority"):
        read_order({"name": "x", "priority": "low"})
