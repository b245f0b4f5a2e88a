"""Who may do what in a cluster: callers on the gateway, servers by the cluster key, and a node that is hostile."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from corral.access.clusterkey import write_cluster_key
from tests.cluster.conftest import Answer, Cluster, chat
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pair(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Two servers; b has the models `m` and `other`."""
    cluster = make_cluster("ab")
    cluster.create("b")
    cluster.create("b", "other")
    return cluster


def key(cluster: Cluster, name: str, **order: Any) -> dict[str, str]:
    made = cluster.ask("a", "/api/keys", {"name": name, **order})
    assert made.status == 201, made.body
    return {"Authorization": f"Bearer {made.json()['key']}"}


def test_the_watch_needs_the_cluster_key(pair: Cluster) -> None:
    """Also from this machine, where other routes need no key."""
    wrong = {"Authorization": "Bearer " + "x" * 40}
    admin = key(pair, "reader", scopes=["read", "infer", "manage"])
    for headers in ({}, wrong, admin):
        for method, path in (("GET", "/api/cluster/watch"), ("POST", "/api/cluster/peer/drain")):
            answer = pair.ask("a", path, {} if method == "POST" else None, headers=headers, method=method)
            assert answer.status in (401, 403, 429), (path, headers)
    assert not pair.status("a")["a"]["draining"]


def test_a_hop_is_believed_beside_the_key_alone(pair: Cluster) -> None:
    """Without it the header is one of those that mean nothing."""
    hop = {"X-Corral-Hop": json.dumps({"gateway": "evil", "scopes": ["infer", "admin"], "key": "nobody"})}

    def uses(name: str) -> int:
        return int(pair.ask(name, "/api/usage").json()["total"]["requests"])

    before = uses("b")
    assert pair.ask("b", "/api/chat", chat(), headers=hop).status == 200
    assert uses("b") == before + 1
    answer = pair.ask("b", "/api/chat", chat(), headers={**hop, "Authorization": f"Bearer {pair.key}"})
    assert answer.status in (102, 200)  # it is here; Python's client takes that for the answer
    assert uses("b") == before + 1


@pytest.mark.parametrize("path", ["/api/keys", "/api/logs"])
def test_the_cluster_key_makes_no_keys(pair: Cluster, path: str) -> None:
    """Whatever it says of its caller."""
    hop = json.dumps({"gateway": "evil", "scopes": ["admin"], "key": "root"})
    for more in ({}, {"X-Corral-Hop": hop}):
        answer = pair.ask("b", path, headers={"Authorization": f"Bearer {pair.key}", **more})
        assert answer.status == 403, answer.body
    answer = pair.ask(
        "b", "/api/me", {}, headers={"Authorization": f"Bearer {pair.key}", "X-Corral-Hop": hop}
    )
    assert answer.status == 403


def test_a_hop_that_cannot_be_read(pair: Cluster) -> None:
    headers = {"Authorization": f"Bearer {pair.key}", "X-Corral-Hop": "{"}
    assert pair.ask("b", "/api/chat", chat(), headers=headers).status == 400


def test_a_key_keeps_to_its_models(pair: Cluster) -> None:
    """On the node too, which does not know the key: in requests, lists and refusals."""
    bound = key(pair, "bound", scopes=["infer", "read", "manage"], models=["m"])
    assert pair.ask("a", "/api/chat", chat(), headers=bound).status == 200
    refused = pair.ask("a", "/api/chat", chat(model="other"), headers=bound)
    assert refused.status == 403 and "may not use the model" in refused.json()["error"]
    missing = pair.ask("a", "/api/chat", chat(model="missing"), headers=bound)
    assert missing.json()["error"] == refused.json()["error"].replace("other", "missing")
    names = [entry["name"] for entry in pair.ask("a", "/api/tags", headers=bound).json()["models"]]
    assert names == ["m:latest"]
    loaded = pair.ask("a", "/api/ps", headers=bound).json()["models"]
    assert {entry["name"] for entry in loaded} <= {"m:latest"}
    (node,) = [
        each for each in pair.ask("a", "/api/cluster", headers=bound).json()["nodes"] if each["name"] == "b"
    ]
    assert node["models"] == 1
    assert pair.ask("a", "/api/delete", {"model": "other"}, method="DELETE", headers=bound).status == 403


def test_limits_hold_at_the_gateway(pair: Cluster) -> None:
    few = key(pair, "few", rpm=2)
    statuses = [pair.ask("a", "/api/chat", chat(), headers=few).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    short = key(pair, "short", max_predict=2)
    lines = pair.ask("a", "/api/chat", chat(), headers=short).lines
    assert lines[-1]["eval_count"] == 2 and lines[-1]["done_reason"] == "length"
    tokens = key(pair, "tokens", tokens_per_day=40)
    found = [pair.ask("a", "/api/chat", chat(), headers=tokens).status for _ in range(12)]
    assert found[0] == 200 and found[-1] == 429


def test_usage_is_the_keys_own(pair: Cluster) -> None:
    mine = key(pair, "mine")
    assert pair.ask("a", "/api/chat", chat(), headers=mine).status == 200
    found = pair.ask("a", "/api/usage?by=key", headers=mine).json()["usage"]
    assert sum(row["generated_tokens"] for row in found) == 5


def test_requests_of_others_are_not_seen(pair: Cluster) -> None:
    mine = key(pair, "lonely")
    assert pair.ask("a", "/api/queue", headers=mine).json() == {"queue": []}
    assert pair.ask("a", "/api/requests/none", headers=mine, method="DELETE").status == 404


def test_a_stored_response_stays_where_it_is(pair: Cluster) -> None:
    """The next request goes there; others do not see it."""
    mine, other = key(pair, "writer"), key(pair, "stranger")
    body = {"model": "m", "input": "hello", "store": True}
    first = pair.ask("a", "/v1/responses", body, headers=mine).json()
    again = pair.ask("a", "/v1/responses", {**body, "previous_response_id": first["id"]}, headers=mine)
    assert again.status == 200 and again.node == "b", again.body
    one = f"/v1/responses/{first['id']}"
    assert pair.ask("a", one, headers=mine).json()["id"] == first["id"]
    assert pair.ask("a", f"{one}/input_items", headers=mine).status == 200
    assert pair.ask("a", one, headers=other).status == 404
    refused = pair.ask("a", "/v1/responses", {**body, "previous_response_id": first["id"]}, headers=other)
    assert refused.status in (400, 404)
    assert pair.ask("a", one, headers=mine, method="DELETE").json()["deleted"] is True
    assert pair.ask("a", one, headers=mine).status == 404


def test_changes_happen_where_the_model_is(pair: Cluster) -> None:
    def nodes(model: str) -> list[str]:
        listed = pair.ask("a", "/api/tags").json()["models"]
        return next((entry["nodes"] for entry in listed if entry["name"] == f"{model}:latest"), [])

    assert pair.ask("a", "/api/copy", {"source": "m", "destination": "twin"}).status == 200
    assert nodes("twin") == ["b"]
    wait_until(lambda: pair.ask("a", "/api/show", {"model": "twin"}).status == 200)
    made = pair.ask("a", "/api/create", {"model": "child", "from": "twin", "system": "Hi", "stream": False})
    assert made.status == 200 and nodes("child") == ["b"], made.body
    for model in ("twin", "child"):
        wait_until(lambda model=model: pair.ask("a", "/api/show", {"model": model}).status == 200)  # type: ignore[misc]
        assert pair.ask("a", "/api/delete", {"model": model}, method="DELETE").status == 200
        assert nodes(model) == []
    assert pair.ask("a", "/api/delete", {"model": "twin"}, method="DELETE").status == 404
    assert pair.ask("a", "/api/copy", {"source": "none", "destination": "x"}).status == 404


def test_a_model_is_unloaded_everywhere(pair: Cluster) -> None:
    assert pair.ask("a", "/api/chat", chat(model="other")).status == 200
    wait_until(lambda: any(each["model"] == "other:latest" for each in pair.status("a")["b"]["loaded"]))
    for _ in range(2):  # also where it is not loaded any more
        answer = pair.ask("a", "/api/generate", {"model": "other", "keep_alive": 0})
        assert answer.json()["done_reason"] == "unload"
        wait_until(lambda: all(each["model"] != "other:latest" for each in pair.status("a")["b"]["loaded"]))


def test_a_server_with_another_key(pair: Cluster, tmp_path: Path) -> None:
    """It is shown as refused, with the reason, and gets nothing."""
    path = tmp_path / "other.key"
    write_cluster_key(path)
    stranger = pair.start("b", CORRAL_CLUSTER_KEY_FILE=str(path))
    try:
        for pipe in pair.pipes.values():
            pipe.set(cut=True)
            pipe.set()
        wait_until(lambda: pair.status("a").get("b", {}).get("standing") == "refused")
        assert "refuses the cluster key" in pair.status("a")["b"]["problem"]
        assert pair.ask("a", "/api/chat", chat()).status == 503
    finally:
        stranger.close()
        pair.pipes["a", "b"].target = pair["b"].port
        pair.pipes["a", "b"].set(cut=True)
        pair.pipes["a", "b"].set()


class Spy:
    """A node that is not one of ours: it says that it has the model `spy`, and keeps what it is asked."""

    def __init__(self, key: str) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
        spy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None: ...

            def do_GET(self) -> None:
                if self.path != "/api/cluster/watch":
                    self.send_error(404)
                    return
                assert self.headers["Authorization"] == f"Bearer {key}"
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                state = {"name": "spy", "epoch": "0" * 16, "models": {"spy": "a" * 64}}
                line = json.dumps(state).encode() + b"\n"
                while not spy.is_over.wait(0.4):
                    try:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    except OSError:
                        return

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spy.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                spy.answer(self)

        self.is_over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def spied(make_cluster: Callable[..., Cluster]) -> Iterator[tuple[Cluster, Spy]]:
    cluster = make_cluster("a", is_started=False)
    spy = Spy(cluster.key)
    cluster.restart("a", CORRAL_CLUSTER_PEERS=spy.url)
    cluster.wait_for("spy", at="a")
    yield cluster, spy
    spy.close()


def whole(handler: BaseHTTPRequestHandler, body: bytes = b"{}", **headers: str) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def ask_spy(
    spied: tuple[Cluster, Spy], answer: Callable[[BaseHTTPRequestHandler], None], **headers: str
) -> Answer:
    cluster, spy = spied
    spy.answer = answer
    spy.asked.clear()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return cluster.ask("a", "/api/chat", chat(model="spy"), headers=named)


def test_what_goes_on_and_what_does_not(spied: tuple[Cluster, Spy]) -> None:
    """Never a key, a cookie or where the client comes from; but how urgent it is and what it belongs to."""
    cluster, spy = spied
    mine = key(cluster, "secretive", priority="interactive")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = ask_spy(
        spied,
        whole,
        Authorization=mine["Authorization"],
        Cookie="session=secret",
        X_Forwarded_For="10.9.9.9",
        X_Request_Id="my-request",
        X_Corral_Deadline="60s",
        X_Corral_Priority="batch",
        traceparent=trace,
    )
    assert found.status == 200
    ((path, headers, body),) = spy.asked
    assert path == "/api/chat" and json.loads(body)["model"] == "spy"
    assert mine["Authorization"].split()[1] not in str(headers) and "secret=" not in str(headers)
    assert "cookie" not in headers and "x-forwarded-for" not in headers
    assert headers["authorization"] == f"Bearer {cluster.key}"
    assert headers["x-request-id"] == "my-request" and headers["traceparent"] == trace
    assert 50 < float(headers["x-corral-deadline"]) <= 60
    hop = json.loads(headers["x-corral-hop"])
    assert (hop["gateway"], hop["priority"]) == ("a", "batch") and hop["key"] in mine["Authorization"]


def test_a_node_says_nothing_for_us(spied: tuple[Cluster, Spy]) -> None:
    """Headers that are ours are ours; use that is none is not counted."""
    usage = '{"prompt":-5,"tokens":1e99,"model":"a b"}'
    found = ask_spy(
        spied, lambda handler: whole(handler, X_Corral_Node="nobody", Server="evil", X_Corral_Usage=usage)
    )
    assert found.headers["x-corral-node"] == "spy; why=only"
    assert found.headers["server"].startswith("corral/") and "x-corral-usage" not in found.headers


def test_a_redirect_is_not_followed(spied: tuple[Cluster, Spy]) -> None:
    """Only addresses in the settings are contacted."""

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", spied[1].url + "/api/secret")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    ask_spy(spied, redirect)
    assert [path for path, _, _ in spied[1].asked] == ["/api/chat"]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (1 << 20),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
    ],
    ids=["head", "body"],
)
def test_a_node_that_speaks_nonsense(spied: tuple[Cluster, Spy], data: bytes) -> None:
    """The client gets an error of ours, in its API's form."""

    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(data)

    found = ask_spy(spied, say)
    assert found.status in (502, 503) and found.json()["error"]
    wait_until(lambda: not spied[0].status()["spy"]["breaker_open"])
