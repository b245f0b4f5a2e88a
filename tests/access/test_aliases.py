"""Names of the configuration for models, and keys that may not use every model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.conftest import KeyedServer, bearer, scoped
from tests.conftest import PLAIN_TEMPLATE

# `open` means a model of the key, `shut` another one; `say-shadow` looks like one of the key's, and is not;
# `tiny` has the name of a model that the key may not use, and means one that it may.
_CONFIG = """
[models."say:latest"]
aliases = ["open", "gpt 4 (open)"]

[aliases]
shut = "secret-model"
say-shadow = "secret-model:latest"
tiny = "say"
vectors = "embed"
gone = "secret-gone"
"""
_REQUEST_ID = re.compile(rb'"request_id":"[^"]*"')
_MESSAGES = [{"role": "user", "content": "now A"}]
_SHORT = {"options": {"num_predict": 2}, "stream": False}
# Every request that names a model to run or to show; NAME is replaced.
_REQUESTS = [
    ("/api/show", {"model": "NAME"}),
    ("/api/show", {"model": "NAME", "verbose": True}),
    ("/api/generate", {"model": "NAME", "prompt": "now A", **_SHORT}),
    ("/api/generate", {"model": "NAME", **_SHORT}),
    ("/api/generate", {"model": "NAME", "keep_alive": 0, "stream": False}),
    ("/api/chat", {"model": "NAME", "messages": _MESSAGES, **_SHORT}),
    ("/api/tokenize", {"model": "NAME", "content": "x"}),
    ("/api/detokenize", {"model": "NAME", "tokens": [5]}),
    ("/v1/chat/completions", {"model": "NAME", "messages": _MESSAGES, "max_tokens": 2}),
    ("/v1/completions", {"model": "NAME", "prompt": "now A", "max_tokens": 2}),
    ("/v1/responses", {"model": "NAME", "input": "now A", "max_output_tokens": 16}),
    ("/v1/messages", {"model": "NAME", "max_tokens": 2, "messages": _MESSAGES}),
    ("/v1/messages/count_tokens", {"model": "NAME", "messages": _MESSAGES}),
]
_VECTORS = [
    ("/api/embed", {"model": "NAME", "input": "x"}),
    ("/api/embeddings", {"model": "NAME", "prompt": "x"}),
    ("/v1/embeddings", {"model": "NAME", "input": "x"}),
]
_REFUSED_ONLY = [
    ("/api/rerank", {"model": "NAME", "query": "x", "documents": ["y"]}),
    ("/v1/rerank", {"model": "NAME", "query": "x", "documents": ["y"]}),
    ("/v1/responses/compact", {"model": "NAME", "input": "x"}),
    (
        "/v1/systemone",
        {"model": "NAME", "state": "x", "questions": {"a": {"type": "noul", "instructions": "x"}}},
    ),
]


@pytest.fixture(scope="module")
def aliased(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    file: Path = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_text(_CONFIG)
    server = KeyedServer(CORRAL_CONFIG=str(file), CORRAL_OFFLINE="1")
    try:
        server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
        server.create("embed", "embed")
        server.create("tiny", "tiny")
        server.post("/api/copy", {"source": "tiny", "destination": "secret-model"})
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def bound(aliased: KeyedServer) -> dict[str, str]:
    """A key for `say` and `embed`, and for what the aliases are called."""
    models = ("say", "embed", "open", "shut", "say-shadow", "vectors", "gone")
    return bearer(aliased.make("bound", **scoped(("infer", "manage"), *models)))


def ask(
    server: KeyedServer, path: str, body: object, name: str, headers: dict[str, str]
) -> tuple[int, bytes]:
    return server.request("POST", path, json.loads(json.dumps(body).replace("NAME", name)), headers)


@pytest.mark.parametrize(("path", "body"), [*_REQUESTS, *_VECTORS, *_REFUSED_ONLY])
@pytest.mark.parametrize("name", ["shut", "SHUT", "shut:latest", "say-shadow", "gone"])
def test_an_alias_is_no_way_to_another_model(
    aliased: KeyedServer, bound: dict[str, str], path: str, body: object, name: str
) -> None:
    """A pattern that has the alias alone gives nothing, and no answer says what the alias stands for."""
    status, answer = ask(aliased, path, body, name, bound)
    assert (status, b"may not use" in answer) == (403, True), answer
    assert b"secret" not in answer
    # The same words as for a name that means nothing at all.
    other = ask(aliased, path, body, "nothing-here", bound)
    plain = name if ":" in name else f"{name}:latest"
    ours, theirs = answer.replace(plain.encode(), b""), other[1].replace(b"nothing-here:latest", b"")
    assert _REQUEST_ID.sub(b"", ours) == _REQUEST_ID.sub(b"", theirs)


@pytest.mark.parametrize(("path", "body"), _REQUESTS)
@pytest.mark.parametrize("name", ["open", "Open:latest", "gpt 4 (open)", "tiny"])
def test_an_alias_of_a_model_that_the_key_may_use(
    aliased: KeyedServer, bound: dict[str, str], path: str, body: object, name: str
) -> None:
    """Patterns are about models; the alias need not be in them."""
    status, answer = ask(aliased, path, body, name, bound)
    assert status == 200, answer


@pytest.mark.parametrize(("path", "body"), _VECTORS)
def test_an_alias_for_vectors(aliased: KeyedServer, bound: dict[str, str], path: str, body: object) -> None:
    assert ask(aliased, path, body, "vectors", bound)[0] == 200


def test_aliases_in_paths_and_forms(aliased: KeyedServer, bound: dict[str, str]) -> None:
    status, answer = aliased.request("GET", "/v1/models/open", None, bound)
    assert status == 200, answer
    for name in ("shut", "say-shadow"):
        status, answer = aliased.request("GET", f"/v1/models/{name}", None, bound)
        assert status == 403 and b"secret" not in answer
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n{name}\r\n',
            '--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n',
        ]
        form = {**bound, "Content-Type": "multipart/form-data; boundary=x"}
        status, answer = aliased.request("POST", "/v1/audio/transcriptions", "".join(parts).encode(), form)
        assert status in (400, 403) and b"secret" not in answer
    for path in ("/api/events", "/api/queue", "/api/ps", "/api/tags", "/v1/models", "/api/origins"):
        headers = {**bound, "Accept": "application/json"}
        status, answer = aliased.request("GET", path, None, headers)
        assert status == 200 and b"secret" not in answer, path


def test_a_stored_response_by_an_alias(aliased: KeyedServer, bound: dict[str, str]) -> None:
    """What came before was of a model that the key may use; the next request may name another one."""
    first = {"model": "open", "input": "now A", "store": True}
    made = json.loads(aliased.request("POST", "/v1/responses", first, bound)[1])
    for name, wanted in (("open", 200), ("shut", 403)):
        follow = {"model": name, "input": "now A", "previous_response_id": made["id"]}
        status, answer = aliased.request("POST", "/v1/responses", follow, bound)
        assert status == wanted and b"secret" not in answer


def test_what_changes_models_knows_no_alias(aliased: KeyedServer, bound: dict[str, str]) -> None:
    for method, path, body in (
        ("DELETE", "/api/delete", {"model": "open"}),
        ("POST", "/api/copy", {"source": "open", "destination": "say-2"}),
        ("POST", "/api/create", {"model": "say-2", "from": "open", "stream": False}),
        ("DELETE", "/api/delete", {"model": "shut"}),
    ):
        status, answer = aliased.request(method, path, body, bound)
        assert status in (400, 403, 404, 500), answer
        assert b"secret" not in answer
    names = {model["name"] for model in aliased.get("/api/tags")["models"]}
    assert names == {"say:latest", "embed:latest", "tiny:latest", "secret-model:latest"}


def test_a_parent_that_the_key_may_not_use(aliased: KeyedServer) -> None:
    """Where a model comes from is a name too: in lists, in show, whether it was kept for another caller or not."""
    made = aliased.post("/api/create", {"model": "say-child", "from": "tiny", "stream": False})
    assert made == {"status": "success"}
    bound = bearer(aliased.make("child", **scoped(("infer", "read"), "say-child")))
    both = bearer(aliased.make("family", **scoped(("infer", "read"), "say-child", "tiny")))
    bodies = [
        {"model": "say-child"},
        {"model": "say-child", "verbose": True},
        {"model": "say-child", "system": "x"},
    ]
    for _ in range(2):
        for headers, parent in ((aliased.auth("admin"), "tiny:latest"), (bound, ""), (both, "tiny:latest")):
            for body in bodies:
                status, answer = aliased.request("POST", "/api/show", body, headers)
                assert status == 200
                assert json.loads(answer)["details"]["parent_model"] == parent
                assert parent or b"tiny" not in answer
            listed = json.loads(aliased.request("GET", "/api/tags", None, headers)[1])["models"]
            (child,) = [model for model in listed if model["name"] == "say-child:latest"]
            assert child["details"]["parent_model"] == parent
            assert parent or b"tiny" not in aliased.request("GET", "/v1/models", None, headers)[1]
    assert aliased.request("DELETE", "/api/delete", {"model": "say-child"})[0] == 200
