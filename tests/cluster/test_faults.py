"""What happens to requests when nodes die, stop, are cut off or leave: none is lost before its first byte."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.conftest import Answer, Cluster, chat
from tests.waiting import wait_until

# Each reply has this many words, a moment between them.
TOKENS, DELAY_S = 6, 0.2


@pytest.fixture(scope="module")
def slow(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Three servers; b and c have a model `m`, whose first word comes after a moment."""
    cluster = make_cluster(FAKE_TOKENS=str(TOKENS), FAKE_DELAY_S=str(DELAY_S), OLLAMA_NUM_PARALLEL="8")
    cluster.create("bc")
    return cluster


@pytest.fixture(autouse=True)
def whole(slow: Cluster) -> Iterator[None]:
    """Every test begins with all nodes heard, and the model loaded on both."""
    for name in slow.names:
        if slow[name].process.poll() is not None:
            slow.restart(name)
            if name in "bc":
                slow.create(name)
    for pipe in slow.pipes.values():
        pipe.set()
    slow.settle()
    for name in "bc":
        wait_until(lambda name=name: not slow.status()[name]["breaker_open"])  # type: ignore[misc]
        assert slow.ask("a", "/api/generate", {"model": "m"}, headers={"X-Corral-Node": name}).status == 200
        for at in slow.names:
            wait_until(lambda at=at, name=name: slow.status(at)[name]["loaded"])  # type: ignore[misc]
    yield
    for name in slow.names:
        if slow[name].process.poll() is None:
            slow.signal(name, signal.SIGCONT)


class Many:
    """Chats at the same time."""

    def __init__(self, slow: Cluster, count: int = 6, at: str = "a", **fields: Any) -> None:
        self._slow = slow
        self._before = {name: len(slow.engine_log(name)) for name in slow.names}
        self._what = (count, at, fields)
        self._asked: list[Future[Answer]] = []
        self._ask()

    def _ask(self) -> None:
        count, at, fields = self._what
        pool = ThreadPoolExecutor(count)
        for i in range(count):
            body = chat(f"{i} {time.time_ns()}", **fields)
            self._asked.append(pool.submit(self._slow.ask, at, "/api/chat", body))
        pool.shutdown(wait=False)

    def reach(self, name: str) -> None:
        """Wait until one of them is at the engine of a node; on a busy machine a node may look silent at first."""

        def has_reached() -> bool:
            if all(each.done() for each in self._asked):
                self._ask()
            return len(self._slow.engine_log(name)) > self._before[name]

        wait_until(has_reached, f"nothing reaches {name}")

    def answers(self) -> list[Answer]:
        return [each.result() for each in self._asked]


def running_on(slow: Cluster, name: str) -> int:
    return int(slow.status().get(name, {}).get("sent", 0))


def assert_whole(answer: Answer) -> None:
    """One answer, all of it, once."""
    assert answer.status == 200, answer.body
    lines = answer.lines
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    words = "".join(line["message"]["content"] for line in lines).split()
    assert len(words) == TOKENS, words


class Stream:
    """A stream whose head has come from a node."""

    def __init__(self, slow: Cluster, path: str, body: Any, node: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", slow["a"].port, timeout=60)
        self._connection.request("POST", path, json.dumps(body), {"X-Corral-Node": node})
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        assert str(self._response.getheader("x-corral-node")).startswith(node)

    def read(self, size: int | None = None) -> bytes:
        return self._response.read(size)

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def test_a_server_that_is_killed_and_comes_back_empty(slow: Cluster) -> None:
    """What had no byte yet is answered by another node, as is everything that is not streamed."""
    asked, whole = Many(slow, 6), Many(slow, 4, stream=False)
    asked.reach("b")
    slow.kill("b")
    later = Many(slow, 4)
    for answer in asked.answers():
        assert_whole_or_broken(answer)
    for answer in whole.answers():
        assert answer.status == 200 and answer.json()["eval_count"] == TOKENS
    for answer in later.answers():
        assert_whole(answer)
    slow.wait_for("b", "suspect", at="a")
    slow.restart("b")
    slow.wait_for("b", at="a")
    wait_until(lambda: slow.status()["b"]["models"] == 0)
    answer = slow.ask("a", "/api/chat", chat("empty"))
    assert_whole(answer)
    assert answer.node == "c"
    slow.create("b")


def assert_whole_or_broken(answer: Answer) -> None:
    """All of it, or a beginning with an error at its end: never an answer of two pieces."""
    if "error" in answer.lines[-1]:
        assert all("error" not in line for line in answer.lines[:-1])
    else:
        assert_whole(answer)


LAST_WORDS: list[tuple[str, dict[str, Any], Callable[[bytes], bool]]] = [
    ("/api/chat", chat(), lambda body: "error" in json.loads(body.splitlines()[-1])),
    (
        "/api/generate",
        {"model": "m", "prompt": "x"},
        lambda body: "error" in json.loads(body.splitlines()[-1]),
    ),
    ("/v1/chat/completions", chat(stream=True), lambda body: "error" in _last_event(body)),
    (
        "/v1/completions",
        {"model": "m", "prompt": "x", "stream": True},
        lambda body: "error" in _last_event(body),
    ),
    ("/v1/messages", chat(stream=True, max_tokens=50), lambda body: _last_event(body)["type"] == "error"),
    (
        "/v1/responses",
        {"model": "m", "input": "x", "stream": True},
        lambda body: _last_event(body)["type"] == "error",
    ),
]


def _last_event(body: bytes) -> Any:
    return json.loads(body.strip().splitlines()[-1].removeprefix(b"data: "))


def test_a_server_that_is_killed_in_the_middle(slow: Cluster) -> None:
    """Every API says so in its own form, at the end of what had come."""
    with ThreadPoolExecutor(len(LAST_WORDS)) as pool:
        begun = [pool.submit(Stream, slow, path, body, "b") for path, body, _ in LAST_WORDS]
        streams = [each.result() for each in begun]
    firsts = [stream.read(1) for stream in streams]
    slow.kill("b")
    for first, stream, (path, _, is_told) in zip(firsts, streams, LAST_WORDS, strict=True):
        body = first + stream.read()
        assert is_told(body), (path, body)
        stream.close()


def test_an_engine_that_is_killed(slow: Cluster) -> None:
    """A node whose engine died answers with an error; the request is answered elsewhere."""
    asked = Many(slow, 6, stream=False)
    asked.reach("b")
    for pid in slow["b"].children():
        os.kill(pid, signal.SIGKILL)
    for answer in asked.answers():
        assert answer.status == 200, answer.body


def test_the_gateways_own_engine_is_killed(slow: Cluster) -> None:
    """Also where the gateway would have served the request itself."""
    asked = Many(slow, 6, at="b", stream=False)
    wait_until(
        lambda: bool(slow["b"].children()) and any("done" not in line for line in slow.engine_log("b"))
    )
    for pid in slow["b"].children():
        os.kill(pid, signal.SIGKILL)
    for answer in asked.answers():
        assert answer.status == 200, answer.body


def test_a_server_that_is_stopped(slow: Cluster) -> None:
    """Not dead, but silent: what waits there goes elsewhere, and nothing new goes there until it speaks again."""
    slow.signal("b", signal.SIGSTOP)
    answers = Many(slow, 6).answers()
    for answer in answers:
        assert_whole(answer)
        assert answer.node == "c"
    slow.wait_for("b", "suspect", at="a")
    assert_whole(slow.ask("a", "/api/chat", chat()))
    slow.signal("b", signal.SIGCONT)
    slow.wait_for("b", "alive", at="ac")
    wait_until(lambda: not slow.status()["b"]["breaker_open"])
    assert slow.ask("a", "/api/chat", chat(), headers={"X-Corral-Node": "b"}).status == 200


def test_a_server_that_is_stopped_while_requests_wait_there(slow: Cluster) -> None:
    asked = Many(slow, 6, stream=False)
    asked.reach("b")
    slow.signal("b", signal.SIGSTOP)
    for answer in asked.answers():
        assert answer.status == 200, answer.body
    slow.signal("b", signal.SIGCONT)


@pytest.mark.parametrize("way", ["up", "down", "both"])
def test_a_network_that_is_cut_one_way(slow: Cluster, way: str) -> None:
    """A node whose words do not come is silent; one that hears nothing does not say that it has a request."""
    slow.pipes["a", "b"].set(up=way == "down", down=way == "up")
    for answer in Many(slow, 4).answers():
        assert_whole(answer)
        assert answer.node == "c"
    slow.wait_for("b", "suspect", at="a")
    assert slow.health("c", "b") == "alive"
    slow.pipes["a", "b"].set()
    slow.wait_for("b", "alive", at="a")


def test_a_network_that_is_slow(slow: Cluster) -> None:
    slow.pipes["a", "b"].set(delay_s=0.1)
    slow.wait_for("b", "alive", at="a")
    assert_whole(slow.ask("a", "/api/chat", chat("slow"), headers={"X-Corral-Node": "b"}))


def test_connections_that_are_reset(slow: Cluster) -> None:
    """Also those that were kept: the request goes on a new one, to the same node."""
    assert slow.ask("a", "/api/chat", chat(), headers={"X-Corral-Node": "b"}).status == 200
    slow.pipes["a", "b"].set(cut=True)
    slow.pipes["a", "b"].set()
    slow.wait_for("b", "alive", at="a")
    answer = slow.ask("a", "/api/chat", chat(), headers={"X-Corral-Node": "b"})
    assert_whole(answer)


def test_a_node_that_drains(slow: Cluster) -> None:
    """It ends what it does and gets nothing new, whichever server is asked."""
    running = Stream(slow, "/api/chat", chat("drain"), "b")
    assert slow.ask("c", "/api/cluster/nodes/b/drain", {}).status == 200
    for name in "ac":
        wait_until(lambda name=name: slow.status(name)["b"]["draining"])  # type: ignore[misc]
    assert {answer.node for answer in Many(slow, 4).answers()} == {"c"}
    assert slow.ask("b", "/api/chat", chat()).node == "c"
    assert_whole(Answer(200, {}, running.read()))
    running.close()
    assert slow.ask("a", "/api/cluster/nodes/b/undrain", {}).status == 200
    wait_until(lambda: not slow.status("c")["b"]["draining"])


def test_a_server_that_ends(slow: Cluster) -> None:
    """After SIGTERM it says that it drains, ends what it does, and is not waited for."""
    running = Stream(slow, "/api/chat", chat("end"), "b")
    running.read(1)
    slow.signal("b", signal.SIGTERM)
    answers = Many(slow, 4).answers()
    for answer in answers:
        assert_whole(answer)
    assert b'"done":true' in running.read()
    running.close()
    slow["b"].process.wait(60)


def test_two_gateways_and_an_old_view(slow: Cluster) -> None:
    """A node that does not have a model any more, as the gateway still believes, is no reason to fail."""
    slow.create("bc", "old")
    session = {"X-Corral-Session": "old view"}
    body = chat(model="old")
    assert slow.ask("a", "/api/chat", body, headers={**session, "X-Corral-Node": "b"}).node == "b"
    slow.pipes["a", "b"].set(delay_s=0.3)
    deleted = slow.ask("b", "/api/delete", {"model": "old"}, method="DELETE", headers={"X-Corral-Node": "b"})
    assert deleted.status == 200
    answer = slow.ask("a", "/api/chat", body, headers=session)
    assert_whole(answer)
    assert answer.node == "c"


def test_nobody_can_take_it(slow: Cluster) -> None:
    """The error says so in the form of the API, and that it is worth to try again."""
    for name in "bc":
        slow.pipes["a", name].set(cut=True)
        slow.wait_for(name, "suspect", at="a")
    answer = slow.ask("a", "/api/chat", chat())
    assert answer.status == 503 and "no server of the cluster" in answer.json()["error"]
    assert answer.headers["retry-after"] == "1"
    answer = slow.ask("a", "/v1/chat/completions", chat())
    assert answer.status == 503 and "no server of the cluster" in answer.json()["error"]["message"]


def test_a_client_that_leaves_ends_the_work(slow: Cluster) -> None:
    before = len(slow.engine_log("b"))
    response = Stream(slow, "/api/chat", chat("leave"), "b")
    response.read(1)
    response.close()
    wait_until(lambda: "cancelled" in slow.engine_log("b")[before:], "the node goes on")
    wait_until(lambda: running_on(slow, "b") == 0)
