"""A server that changes nothing, one that does inference alone, and one without some of its APIs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.api.http.steps.mode import CheckMode
from corral.config import Settings
from corral.errors import CorralError, ForbiddenError
from tests.access.test_walk import METHODS, ROUTES, path_of
from tests.conftest import PLAIN_TEMPLATE, Server

# What each mode lets through, written down by hand: a new route has to be thought about here.
READ_ONLY_REFUSES = {
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/blobs/:digest"),
    ("GET", "/api/local-blobs"),
    ("POST", "/api/local-blobs"),
    ("PUT", "/v2/:repository/manifests/:reference"),
    ("POST", "/v2/:repository/blobs/uploads/"),
    ("GET", "/v2/:repository/blobs/uploads/:id"),
    ("HEAD", "/v2/:repository/blobs/uploads/:id"),
    ("PATCH", "/v2/:repository/blobs/uploads/:id"),
    ("PUT", "/v2/:repository/blobs/uploads/:id"),
    ("DELETE", "/v2/:repository/blobs/uploads/:id"),
}


def refused(*, is_read_only: bool, is_infer_only: bool) -> set[tuple[str, str]]:
    step = CheckMode(is_read_only=is_read_only, is_infer_only=is_infer_only)
    found = set()
    for route in ROUTES:
        try:
            step._check(route)
        except ForbiddenError:
            found |= {(method, route.path) for method in route.methods.split()}
    return found


def test_what_the_modes_refuse() -> None:
    assert refused(is_read_only=True, is_infer_only=False) == READ_ONLY_REFUSES
    infer_only = refused(is_read_only=False, is_infer_only=True)
    assert infer_only > READ_ONLY_REFUSES
    assert {("POST", "/api/chat"), ("POST", "/v1/messages"), ("GET", "/")}.isdisjoint(infer_only)
    assert {
        ("GET", "/api/tags"),
        ("POST", "/api/show"),
        ("GET", "/v1/models"),
        ("POST", "/api/me"),
    } <= infer_only
    assert refused(is_read_only=False, is_infer_only=False) == set()


@pytest.fixture
def folder(start_server: Callable[..., Server]) -> Iterator[Path]:
    """A models folder with the model `say`."""
    server = start_server()
    server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
    yield server.folder


def test_a_read_only_server(start_server: Callable[..., Server], folder: Path) -> None:
    before = sorted(path.name for path in (folder / "blobs").iterdir())
    stray = folder / "blobs" / f"sha256-{'0' * 64}"
    stray.write_bytes(b"nobody refers to it")
    server = start_server(
        CORRAL_READ_ONLY="1",
        OLLAMA_MODELS=str(folder),
        CORRAL_REGISTRY="push",
        CORRAL_REGISTRY_PULL_THROUGH="1",
    )
    for method, path in sorted(READ_ONLY_REFUSES):
        (route,) = [route for route in ROUTES if route.path == path and method in route.methods.split()]
        body = None if method in ("GET", "HEAD") else b"{}"
        status, answer = server.request(method, path_of(route), body)
        assert status in (403, 405), (method, path, answer)
    assert b"does not change its models" in server.request("POST", "/api/copy", {})[1]
    assert b"DENIED" in server.request("PUT", "/v2/library/x/manifests/latest", {})[1]
    assert server.request("POST", "/api/verify", {"stream": False})[0] == 200
    assert server.request("GET", "/v2/library/say/manifests/latest")[0] == 200
    answer = server.post("/api/generate", {"model": "say", "prompt": "now A", "stream": False})
    assert answer["response"]
    assert sorted(path.name for path in (folder / "blobs").iterdir()) == sorted([*before, stray.name])


def test_an_inference_only_server(start_server: Callable[..., Server], folder: Path) -> None:
    server = start_server(CORRAL_INFER_ONLY="1", OLLAMA_MODELS=str(folder), CORRAL_REGISTRY="push")
    assert server.post("/api/generate", {"model": "say", "prompt": "now A", "stream": False})["response"]
    for method, path in (("GET", "/api/tags"), ("POST", "/api/show"), ("GET", "/v1/models"), ("GET", "/v2/")):
        status, answer = server.request(method, path, {} if method == "POST" else None)
        assert (status, b"inference only" in answer) == (403, True), (path, answer)
    assert server.request("GET", "/api/version")[0] == server.request("GET", "/api/keys")[0] == 200


def test_apis_that_are_off(start_server: Callable[..., Server]) -> None:
    server = start_server(CORRAL_SURFACES_OFF="v1, /v2/,docs", CORRAL_REGISTRY="push")
    gone = [route for route in ROUTES if route.path.startswith(("/v1", "/v2", "/docs", "/openapi"))]
    assert len(gone) > 20
    for route in gone:
        for method in METHODS:
            status = server.request(method, path_of(route))[0]
            assert status == 404 or (method == "OPTIONS" and status == 204), (method, route.path, status)
    assert server.request("GET", "/api/tags")[0] == 200
    described = start_server(CORRAL_SURFACES_OFF="anthropic")
    paths = json.loads(described.request("GET", "/openapi.json")[1])["paths"]
    assert "/v1/chat/completions" in paths and "/v1/messages" not in paths
    assert described.request("POST", "/v1/messages", {})[0] == 404


@pytest.mark.parametrize(
    ("name", "value"), [("CORRAL_SURFACES_OFF", "openai,v3"), ("CORRAL_AUTH", "onn"), ("CORRAL_AUTH", "yes")]
)
def test_slips_in_what_shuts_doors_are_errors(name: str, value: str) -> None:
    with pytest.raises(CorralError, match=name):
        Settings.from_env({name: value})


def test_texts_of_modes() -> None:
    assert [Settings.from_env({"CORRAL_AUTH": text}).auth_mode for text in ("0", "1", "ON", "Remote")] == [
        "off",
        "on",
        "on",
        "remote",
    ]
    assert Settings.from_env({"CORRAL_SURFACES_OFF": "V1,docs"}).surfaces_off >= {
        "openai",
        "page",
        "description",
    }
