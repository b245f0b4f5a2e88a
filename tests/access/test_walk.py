"""Every route, every method, every kind of key: nothing is open that should not be."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from corral.access.secret import new_secret
from corral.api.http.routing import Route
from corral.api.operations.routes import operations_surface
from corral.api.registry.routes import Registry
from corral.caller import SCOPES, Scope, with_implied
from corral.server import _surfaces
from tests.access.conftest import KeyedServer, bearer, scoped

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
NO_DIGEST = "sha256:" + "0" * 64
_PLACES = {
    ":repository": "library/say",
    ":reference": "latest",
    ":digest": NO_DIGEST,
    ":id": "nothing",
    ":key": "x",
    ":model": "say",
}
_OPERATIONS = operations_surface(Mock(), Mock(), Mock(), Mock(), Mock())
_SURFACES = _surfaces(Mock(cloud_source="config"), Mock(), Mock(), _OPERATIONS)
_FOUND = [route for surface in _SURFACES for route in surface.routes]
ROUTES: list[Route] = [*_FOUND, *Registry(Mock(), Mock(), Mock(), may_push=True).routes]
# What a key is told that may not do something, and nobody else.
_REFUSED = b"API key"


class Prober:
    """Sends requests over one connection after the other, whoever they come from."""

    def __init__(self, server: KeyedServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self.count = 0

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"{}") -> tuple[int, bytes]:
        self.count += 1
        sent = body if method in ("POST", "PUT", "PATCH", "DELETE") else None
        # The stream of /api/events never ends, its list does.
        self._connection.request(method, path, sent, {"Accept": "application/json", **headers})
        with self._connection.getresponse() as response:
            return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def prober(keyed: KeyedServer) -> Iterator[Prober]:
    prober = Prober(keyed)
    yield prober
    prober.close()


def path_of(route: Route) -> str:
    path = route.path
    for place, value in _PLACES.items():
        path = path.replace(place, value)
    return path


def is_refused(method: str, answer: tuple[int, bytes]) -> bool:
    status, body = answer
    return status in (401, 403) and (method == "HEAD" or _REFUSED in body)


def is_allowed(route: Route, scope: str) -> bool:
    if route.scope in ("open", "key"):
        return True
    given = with_implied(frozenset({scope}))  # type: ignore[arg-type]
    return ("admin" if route.scope == "account" else route.scope) in given


@pytest.mark.slow
def test_every_route_with_every_key(
    keyed: KeyedServer, prober: Prober, capsys: pytest.CaptureFixture[str]
) -> None:
    """No key, wrong, unknown, expired and revoked ones get 401, other scopes 403, the right one neither."""
    known = keyed.texts["admin"]
    bad = {
        "none": {},
        "wrong": bearer(known[:-1] + ("0" if known[-1] != "0" else "1")),
        "unknown": bearer(new_secret("zzzzzzzz")),
        "expired": keyed.auth("expired"),
        "revoked": keyed.auth("revoked"),
    }
    for route in ROUTES:
        for method in route.methods.split():
            for name, headers in bad.items():
                answer = prober.ask(method, path_of(route), headers)
                wanted = (401, 429) if route.scope != "open" else ()
                assert (answer[0] in wanted) is (route.scope != "open"), (route.path, method, name, answer)
            for scope in SCOPES:
                if route.scope == "open" or (route.path == "/api/keys" and is_allowed(route, scope)):
                    continue
                answer = prober.ask(method, path_of(route), keyed.auth(scope))
                allowed = is_allowed(route, scope)
                assert is_refused(method, answer) is not allowed, (route.path, method, scope, answer)
                assert allowed or answer[0] == 403
    with capsys.disabled():
        print(f"\n{prober.count} combinations of routes, methods and keys")


@pytest.mark.slow
def test_no_other_method_gets_in(keyed: KeyedServer, prober: Prober) -> None:
    """What the table does not have is not answered with anything, whatever the method."""
    for path in {path_of(route) for route in ROUTES}:
        entries = [route for route in ROUTES if path_of(route) == path]
        listed = {method for route in entries for method in route.methods.split()}
        for method in METHODS:
            if method in listed:
                continue
            status, body = prober.ask(method, path, {})
            assert status in (204, 401, 403, 404, 405, 429), (path, method, status, body)
            assert status != 204 or method == "OPTIONS"


_MODEL_ROUTES = [
    ("POST", "/api/show", {"model": "tiny"}),
    ("POST", "/api/show", {"name": "TINY:Latest"}),
    ("POST", "/api/show", {"model": "tiny", "verbose": True}),
    ("POST", "/api/generate", {"model": "tiny", "prompt": "x"}),
    ("POST", "/api/generate", {"model": "registry.ollama.ai/library/tiny:latest"}),
    ("POST", "/api/generate", {"model": "tiny", "keep_alive": 0}),
    ("POST", "/api/chat", {"model": "tiny:local", "messages": []}),
    ("POST", "/api/embed", {"model": "embed", "input": "x"}),
    ("POST", "/api/embeddings", {"model": "embed", "prompt": "x"}),
    ("POST", "/api/rerank", {"model": "tiny", "query": "x", "documents": ["y"]}),
    ("POST", "/api/tokenize", {"model": "tiny", "content": "x"}),
    ("POST", "/api/detokenize", {"model": "tiny", "tokens": [1]}),
    ("POST", "/api/copy", {"source": "tiny", "destination": "say-2"}),
    ("POST", "/api/copy", {"source": "say", "destination": "tiny-2"}),
    ("DELETE", "/api/delete", {"model": "tiny"}),
    ("POST", "/api/create", {"model": "tiny-2", "from": "say", "stream": False}),
    ("POST", "/api/create", {"model": "say-2", "from": "tiny", "stream": False}),
    ("POST", "/api/create", {"model": "say-2", "modelfile": "FROM tiny", "stream": False}),
    ("POST", "/api/pull", {"model": "tiny", "stream": False}),
    ("POST", "/api/push", {"model": "tiny", "stream": False}),
    ("POST", "/api/verify", {"model": "tiny", "stream": False}),
    ("POST", "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}),
    ("POST", "/v1/completions", {"model": "tiny", "prompt": "x"}),
    ("POST", "/v1/embeddings", {"model": "embed", "input": "x"}),
    ("POST", "/v1/rerank", {"model": "tiny", "query": "x", "documents": ["y"]}),
    ("POST", "/v1/responses", {"model": "tiny", "input": "x"}),
    ("POST", "/v1/responses/compact", {"model": "tiny", "input": "x"}),
    (
        "POST",
        "/v1/messages",
        {"model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]},
    ),
    ("POST", "/v1/messages/count_tokens", {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}),
    (
        "POST",
        "/v1/systemone",
        {"model": "tiny", "state": "x", "questions": {"a": {"type": "noul", "instructions": "x"}}},
    ),
    ("GET", "/v1/models/tiny", None),
    ("GET", "/v2/library/tiny/manifests/latest", None),
    ("PUT", "/v2/library/tiny/manifests/latest", {}),
]


@pytest.fixture(scope="module")
def bound(keyed: KeyedServer) -> dict[str, str]:
    """A key for everything but keys, bound to models whose names begin with `say`."""
    scopes: tuple[Scope, ...] = ("infer", "manage", "registry:push")
    return bearer(keyed.make("bound", **scoped(scopes, "say*")))


@pytest.mark.parametrize(("method", "path", "body"), _MODEL_ROUTES, ids=lambda value: json.dumps(value)[:60])
def test_a_key_uses_no_model_but_its_own(
    keyed: KeyedServer, bound: dict[str, str], method: str, path: str, body: object
) -> None:
    status, answer = keyed.request(method, path, body, bound)
    assert (status, b"may not use" in answer) == (403, True), answer
    missing = json.loads(json.dumps(body).replace("tiny", "missing").replace("embed", "missing").lower())
    other, answer = keyed.request(method, path.replace("tiny", "missing"), missing, bound)
    assert (other, b"may not use" in answer) == (403, True), answer  # no word about which models exist


def test_lists_show_what_a_key_may_use(keyed: KeyedServer, bound: dict[str, str]) -> None:
    def names(path: str, member: str, of: str) -> set[str]:
        status, answer = keyed.request("GET", path, None, bound)
        assert status == 200, answer
        return {entry[of] if of else entry for entry in json.loads(answer)[member]}

    keyed.post(
        "/api/generate", {"model": "tiny", "prompt": "x", "options": {"num_predict": 1}, "stream": False}
    )
    keyed.post("/api/generate", {"model": "say", "prompt": "now A", "stream": False})
    assert names("/api/tags", "models", "name") == {"say:latest"}
    assert names("/api/ps", "models", "name") == {"say:latest"}
    assert names("/api/origins", "origins", "") == {"say:latest"}
    assert names("/v1/models", "data", "id") == {"say:latest"}
    assert names("/v2/_catalog", "repositories", "") == {"library/say"}
    assert names("/v2/library/say/tags/list", "tags", "") == {"latest"}
    assert keyed.request("GET", "/v2/library/tiny/tags/list", None, bound)[0] == 404
    assert {model["name"] for model in keyed.get("/api/tags")["models"]} >= {"say:latest", "tiny:latest"}


def test_operations_show_what_a_key_may_use(
    keyed: KeyedServer, prober: Prober, bound: dict[str, str]
) -> None:
    for model in ("tiny", "say"):
        keyed.post("/api/generate", {"model": model, "prompt": "now A", "stream": False})
    whole, mine = (
        json.loads(prober.ask("GET", "/api/events", headers)[1])["events"]
        for headers in (keyed.auth("read"), bound)
    )
    assert {"tiny:latest", "say:latest"} <= {event["model"] for event in whole}
    assert {event["model"] for event in mine} == {"say:latest"}
    assert "tiny" not in json.dumps(mine)
    assert prober.ask("GET", "/metrics", keyed.auth("read"))[0] == 200
    assert prober.ask("GET", "/metrics", bound)[0] == 403


def test_blobs_belong_to_their_models(keyed: KeyedServer, bound: dict[str, str]) -> None:
    """A digest alone is no way to another model's weights; whoever has the file may use it."""
    manifest = json.loads(keyed.request("GET", "/v2/library/tiny/manifests/latest")[1])
    digest = manifest["layers"][0]["digest"]
    assert keyed.request("HEAD", f"/api/blobs/{digest}", None, bound)[0] == 404
    assert keyed.request("GET", f"/v2/library/say/blobs/{digest}", None, bound)[0] == 404
    assert keyed.request("HEAD", f"/api/blobs/{digest}")[0] == 200
    create = {"model": "say-3", "files": {"x.gguf": digest}, "stream": False}
    status, answer = keyed.request("POST", "/api/create", create, bound)
    assert b"may not use the blob" in answer, (status, answer)
    layers = {**manifest, "layers": manifest["layers"][:1]}
    assert keyed.request("PUT", "/v2/library/say-3/manifests/latest", layers, bound)[0] == 400
    start = f"/v2/library/say-3/blobs/uploads/?mount={digest}&from=library/tiny"
    assert keyed.request("POST", start, None, bound)[0] == 202  # as if it were not here

    status, data = keyed.request("GET", f"/v2/library/tiny/blobs/{digest}")
    assert status == 200
    assert keyed.request("POST", f"/api/blobs/{digest}", data[:-1] + b"!", bound)[0] == 400
    assert b"may not use" in keyed.request("POST", "/api/create", create, bound)[1]
    assert keyed.request("POST", f"/api/blobs/{digest}", data, bound)[0] == 201
    assert keyed.request("POST", "/api/create", create, bound)[0] == 200
    assert keyed.request("DELETE", "/api/delete", {"model": "say-3"}, bound)[0] == 200


def test_responses_belong_to_their_key(keyed: KeyedServer) -> None:
    one, two = (bearer(keyed.make(name, **scoped(("infer",)))) for name in ("one", "two"))
    body = {"model": "say", "input": "now A", "store": True}
    status, answer = keyed.request("POST", "/v1/responses", body, one)
    assert status == 200, answer
    made = json.loads(answer)
    path = f"/v1/responses/{made['id']}"
    for way in ((path, "GET"), (f"{path}/input_items", "GET"), (path, "DELETE")):
        for other in (two, keyed.auth("admin")):
            assert keyed.request(way[1], way[0], None, other)[0] == 404
    follow = {**body, "previous_response_id": made["id"]}
    assert keyed.request("POST", "/v1/responses", follow, two)[0] == 400
    refer = {**body, "input": [{"type": "item_reference", "id": made["output"][0]["id"]}]}
    assert keyed.request("POST", "/v1/responses", refer, two)[0] == 404
    assert keyed.request("POST", "/v1/responses", follow, one)[0] == 200
    keyed.store.rotate("one", 0)  # its owner is the key, whatever its text
    (fresh,) = [keyed.store.rotate("one", 0)[1]]
    assert keyed.request("GET", path, None, bearer(fresh))[0] == 200
    assert keyed.request("DELETE", path, None, bearer(fresh))[0] == 200


def test_unloading_needs_manage(keyed: KeyedServer) -> None:
    body = {"model": "say", "keep_alive": 0, "stream": False}
    assert keyed.request("POST", "/api/generate", body, keyed.auth("infer"))[0] == 403
    assert keyed.request("POST", "/api/chat", {**body, "messages": []}, keyed.auth("infer"))[0] == 403
    both = bearer(keyed.make("both", **scoped(("infer", "manage"))))
    assert keyed.request("POST", "/api/generate", body, both)[0] == 200


def test_a_route_without_a_scope_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no scope"):
        Route("GET", "/x", Mock(), "", scope="")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Route("GET", "/x", Mock(), "")  # type: ignore[call-arg]
