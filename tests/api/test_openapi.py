"""The published description: every route is in it, and nothing that it invites clients to send causes a fault.

Schemathesis makes requests from the description, valid and broken ones, native and compatible, against a server on
the engine double (a real engine would be asked for a hundred thousand tokens) and, where no text is made, on the
real engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from corral.api.openapi.document import make_document
from corral.api.operations.routes import operations_surface
from corral.api.registry.routes import Registry
from corral.server import _surfaces
from tests.conftest import FAKE_ENGINE, Server
from tests.extras import need

if TYPE_CHECKING:
    from schemathesis import Case, Response

# `CORRAL_FUZZ_EXAMPLES=500` for a long run by hand.
EXAMPLES = int(os.environ.get("CORRAL_FUZZ_EXAMPLES", "8"))
_TIMEOUT_S = 20.0
SURFACES = _surfaces(
    Mock(cloud_source="config"), Mock(), Mock(), operations_surface(Mock(), Mock(), Mock(), Mock(), Mock())
)
ROUTES = [route for surface in SURFACES for route in surface.routes]
_DOCUMENT = json.loads(json.dumps(make_document(SURFACES)))
_FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="CORRAL_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# 500 and more that are the original's own answers, or that say what this machine lacks; anything else is a fault.
_ALLOWED_FAULTS = (
    'option "',  # an entry of `options` of the wrong type
    "invalid format: ",
    "template: ",
    "This server does not support embeddings",
    "model requires more system memory",
    "unable to load model",
    "pull model manifest",
    "push",
    "dial tcp",
    "account unavailable",
)


def test_no_route_is_in_two_tables() -> None:
    """The later one would shadow the earlier one."""
    registry = Registry(Mock(), Mock(), Mock(), may_push=True)
    pairs = [
        (method, route.path) for route in (*ROUTES, *registry.routes) for method in route.methods.split()
    ]
    assert len(pairs) == len(set(pairs))


def test_scopes() -> None:
    """What only reads changes nothing, and nothing that needs a model or changes one is open to everybody."""
    registry = Registry(Mock(), Mock(), Mock(), may_push=True)
    for route in (*ROUTES, *registry.routes):
        if route.scope in ("open", "read"):
            only_reads = route.methods in ("GET", "GET HEAD", "HEAD") or route.path == "/api/show"
            assert only_reads, (
                f"{route.methods} {route.path} has the scope {route.scope}, a POST has another one"
            )
    assert {route.path for route in ROUTES if route.scope == "account"} == {
        "/api/me",
        "/api/signout",
        "/api/user/keys/:key",
    }
    assert {route.scope for route in ROUTES if route.path.startswith("/v1/")} == {"infer", "read"}


def test_the_document_is_published_and_valid(server: Server) -> None:
    """As it is made, with no reference to a schema that is not there."""
    need("schemathesis")
    import schemathesis

    published = server.get("/openapi.json")
    assert published == _DOCUMENT
    names = set(published["components"]["schemas"])
    text = json.dumps(published)
    used = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= names
    schemathesis.openapi.from_dict(published).validate()


def test_examples_are_valid() -> None:
    """Every JSON body has one, and it has the described form."""
    for path, operations in _DOCUMENT["paths"].items():
        for operation in operations.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                schema = {**body["schema"], "components": _DOCUMENT["components"]}
                assert "example" in body, path
                jsonschema.validate(body["example"], schema)


# These would reach out to a registry; deleting the model would end the test of everything else.
_SKIPPED = ("/api/pull", "/api/push", "/api/me", "/api/signout", "/api/user/keys/{key}")
_KEEPS_ITS_NAME = ("/api/delete", "/api/create", "/api/copy")
# What makes no text, and so needs no double, or reads scores, which the double does not give.
_REAL = (
    "/api/embed",
    "/api/embeddings",
    "/v1/embeddings",
    "/v1/systemone",
    "/api/tokenize",
    "/api/detokenize",
    "/api/show",
)

_ON_DOUBLE = [
    (method.upper(), path)
    for path, operations in _DOCUMENT["paths"].items()
    for method in operations
    if path not in (*_SKIPPED, "/v1/systemone") and method != "head"
]


@pytest.fixture(scope="module")
def double(process: None) -> Iterator[Server]:
    """A server on the engine double; its replies have five tokens whatever is asked for."""
    server = Server(CORRAL_LLAMA_SERVER=str(FAKE_ENGINE), OLLAMA_KEEP_ALIVE="1m")
    try:
        server.create(
            "m", "tiny", template="{{ range .Messages }}{{ .Role }}: {{ .Content }} {{ end }}{{ .Tools }}"
        )
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(("method", "path"), _ON_DOUBLE)
def test_fuzz_on_the_double(double: Server, method: str, path: str, mode: str) -> None:
    _fuzz(double, "m", method, path, mode)


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", _REAL)
def test_fuzz_on_the_engine(server: Server, path: str, mode: str) -> None:
    _fuzz(server, "embed", "POST", path, mode)


def _fuzz(server: Server, model: str, method: str, path: str, mode: str) -> None:
    """Send made-up requests to a route; in most of them the model exists."""
    need("schemathesis")
    import schemathesis

    generation = schemathesis.GenerationMode(mode)
    schema = schemathesis.openapi.from_dict(_DOCUMENT)
    strategy = schema[path][method].as_strategy(generation_mode=generation)

    @_FUZZ
    @given(case=strategy, is_known=st.booleans())
    def send(case: Case[Any], is_known: bool) -> None:
        body = case.body
        if isinstance(body, dict) and isinstance(body.get("model"), str) and path not in _KEEPS_ITS_NAME:
            body["model"] = model if is_known else body["model"]
        _check(case, case.call(base_url=server.base, timeout=_TIMEOUT_S))

    try:
        send()
    except Unsatisfiable:
        assert mode == "negative", "nothing can be sent to this route"
    assert server.process.poll() is None


def _check(case: Case[Any], response: Response) -> None:
    """An answer of the described form, and no fault of the server."""
    if response.status_code >= 500:
        text = response.text
        assert "internal server error" not in text, case.as_curl_command()
        assert any(allowed in text for allowed in _ALLOWED_FAULTS), f"{text}\n{case.as_curl_command()}"
    content_type = response.headers.get("content-type", [""])[0]
    if content_type.startswith("application/json"):
        from schemathesis.specs.openapi.checks import response_schema_conformance

        case.validate_response(response, checks=[response_schema_conformance])
    elif response.status_code < 300:
        assert not content_type.startswith("text/html")
