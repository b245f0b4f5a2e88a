"""What web pages of other origins may send (CORS)."""

from __future__ import annotations

import http.client
from contextlib import closing

import pytest

from corral.api.http.origins import OriginRules
from tests.conftest import Server

# As Ollama answers every preflight, whatever the page asks for.
OLLAMAS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
    "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
    "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout"
)


def allowed(wanted: str, *origins: str) -> str:
    headers = dict(OriginRules(origins).preflight_headers(wanted))
    return headers[b"access-control-allow-headers"].decode()


@pytest.mark.parametrize(
    "wanted",
    ["", "content-type", "authorization, content-type", "x-unknown", "X-Corral", ",", "x-corral-deadline-2"],
)
def test_ollamas_list(wanted: str) -> None:
    assert allowed(wanted) == OLLAMAS
    assert allowed(wanted, "*") == OLLAMAS


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("x-corral-deadline", ["X-Corral-Deadline"]),
        ("content-type,x-corral-priority,x-corral-metrics", ["X-Corral-Priority", "X-Corral-Metrics"]),
        ("X-REQUEST-ID , TraceParent,tracestate", ["X-Request-Id", "Traceparent", "Tracestate"]),
        ("anthropic-version,x-api-key,x-other", ["X-Api-Key", "Anthropic-Version"]),
    ],
)
def test_what_a_page_asks_for(wanted: str, found: list[str]) -> None:
    """Headers that are read are allowed, after Ollama's; each once, however often it is asked for."""
    for origins in ([], ["*"]):
        assert allowed(f"{wanted},{wanted}", *origins) == ",".join([OLLAMAS, *found])


def preflight(server: Server, **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with closing(connection):
        connection.request("OPTIONS", "/api/chat", headers=headers)
        answer = connection.getresponse()
        found: dict[str, str] = {}
        for name, value in answer.getheaders():
            found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
        return answer.status, found


def test_over_http(server: Server) -> None:
    """The answer varies by what was asked for. A page that may not use the server gets no list."""
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-corral-deadline"}
    status, headers = preflight(server, Origin="http://localhost:3000", **ask)
    assert status == 204
    assert headers["access-control-allow-headers"] == f"{OLLAMAS},X-Corral-Deadline"
    assert "Access-Control-Request-Headers" in headers["vary"]
    status, headers = preflight(server, Origin="http://evil.example", **ask)
    assert status == 403 and "access-control-allow-headers" not in headers
