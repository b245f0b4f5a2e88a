"""Somebody who has no key, or the wrong one, and knows HTTP well."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable

import pytest

from tests.access.conftest import KeyedServer, bearer, scoped
from tests.conftest import Server
from tests.web.wire import HOST, connect, exchange, read_until, statuses

OPEN = (200, 204)
# Headers that differ from one answer to the next, whatever is asked.
_OF_EACH = (b"date:", b"x-request-id:")
# What would show that somebody got in.
_SECRETS = (
    *(b'"models"', b"say:latest", b'"keys"', b'"id"', b'"events"', b'"queue"', b'"usage"', b'"requests"'),
    *(b"corral_", b"event: ", b"process_cpu"),
)


def get(
    path: bytes, *headers: bytes, method: bytes = b"GET", version: bytes = b"1.1", host: bytes = HOST
) -> bytes:
    lines = b"".join(header + b"\r\n" for header in (*headers, b"Connection: close"))
    return b"%b %b HTTP/%b\r\n%b%b\r\n" % (method, path, version, host, lines)


def is_shut(answer: bytes) -> bool:
    """Whether nothing of what needs a key is in any answer, nor any success."""
    found = statuses(answer)
    return bool(found) and not set(found) & set(OPEN) and not any(secret in answer for secret in _SECRETS)


@pytest.mark.parametrize(
    "path",
    [
        b"/api/tags",
        b"//api/tags",
        b"/api//tags",
        b"/./api/tags",
        b"/v1/../api/tags",
        b"/x/../api/tags",
        b"/api/version/../tags",
        b"/api/./tags",
        b"/api/tags/",
        b"/api/tags/.",
        b"/api/tags?",
        b"/api/tags?api_key=KEY",
        b"/api/tags?key=KEY&access_token=KEY&authorization=Bearer%20KEY",
        b"/api/tags#/api/version",
        b"/api/tags;/api/version",
        b"/API/TAGS",
        b"/Api/Tags",
        b"/%61pi/tags",
        b"/api%2ftags",
        b"/api%2Ftags",
        b"/%2e%2e/api/tags",
        b"/v1/%2e%2e/api/tags",
        b"/api/%74%61%67%73",
        b"/api/tags%00",
        b"/api/tags%0d%0aX:1",
        b"/api/tags%20",
        b"/api\\tags",
        b"/api/tags\xc3\xa9",
        b"/\xef\xbc\xbfapi/tags",
        b"http://127.0.0.1/api/tags",
        b"http://localhost/api/tags",
        b"http://x@127.0.0.1/api/tags",
        b"HTTP://127.0.0.1//api/tags",
        b"/v1/models",
        b"/v1//models",
        b"/v1/models/",
        b"/V1/models",
        b"/v1/models/say",
        b"/v1/models/%73ay",
        b"/v2/_catalog",
        b"/v2//_catalog",
        b"/%76%32/_catalog",
        b"/v2/%5fcatalog",
        b"/v2/library/say/tags/list",
        b"/v2/x/../_catalog",
        b"/v2",
        b"/api/keys",
        b"/api/keys/me",
        b"/api/keys/ME",
        b"/api/keys/%6de",
        b"/api/ps",
        b"/api/origins",
        b"/docs/../api/tags",
        b"/docs/%2e%2e/api/tags",
        b"/openapi.json/../api/tags",
        b"*",
        b"/metrics",
        b"/metrics/",
        b"//metrics",
        b"/Metrics",
        b"/%6detrics",
        b"/healthz/../metrics",
        b"/healthz/%2e%2e/metrics",
        b"/metrics;/healthz",
        b"/api/queue",
        b"/api//queue",
        b"/api/queue/",
        b"/api/QUEUE",
        b"/api/%71ueue",
        b"/api/events",
        b"/api/events?follow=1",
        b"/api/events/",
        b"/api/version/../events",
        b"/api/usage",
        b"/api/usage?by=key",
        b"/api/%75sage",
        b"/api/top",
        b"/api/requests/1",
        b"/api/verify",
        b"/ui/../api/tags",
        b"/ui/%2e%2e/api/tags",
        b"/ui/..%2fapi%2ftags",
        b"/ui//api/tags",
        b"/ui/index.html/../../api/tags",
        b"/ui/..%5capi%5ctags",
        b"/ui/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/readyz/../api/keys",
        b"http://KEY@127.0.0.1/api/tags",
        b"http://x:KEY@127.0.0.1/api/tags",
    ],
)
def test_no_path_leads_around(keyed: KeyedServer, path: bytes) -> None:
    path = path.replace(b"KEY", keyed.texts["admin"].encode())
    assert is_shut(exchange(keyed, get(path)))
    assert is_shut(exchange(keyed, get(path, version=b"1.0")))
    assert is_shut(exchange(keyed, get(path, version=b"1.0", host=b"")))


@pytest.mark.parametrize(
    "headers",
    [
        [b"Authorization:"],
        [b"Authorization: Bearer"],
        [b"Authorization: Bearer "],
        [b"Authorization: KEY"],
        [b"Authorization: Token KEY"],
        [b"Authorization: Basic KEY"],
        [b"Authorization: Bearer KEY, Bearer KEY"],
        [b"Authorization: Bearer KEYx"],
        [b"Authorization: Bearer xKEY"],
        [b"Authorization: Bearer KEY KEY"],
        [b'Authorization: Bearer "KEY"'],
        [b"Authorization: Bearer CUT"],
        [b"Authorization: Bearer UPPER"],
        [b"Proxy-Authorization: Bearer KEY"],
        [b"X-Authorization: Bearer KEY"],
        [b"X_Api_Key: KEY"],
        [b"Cookie: key=KEY; api_key=KEY"],
        [b"Authorization: Bearer nothing", b"Authorization: Bearer KEY"],
        [b"Authorization: Bearer KEY", b"Authorization: Bearer nothing"],
        [b"Authorization: Bearer KEY", b"X-Api-Key: nothing"],
        [b"X-Api-Key: nothing", b"X-Api-Key: KEY"],
        [b"X-Forwarded-For: 127.0.0.1"],
        [b"X-Real-IP: 127.0.0.1"],
        [b"Forwarded: for=127.0.0.1"],
        [b"X-Original-URL: /api/version"],
        [b"X-Rewrite-URL: /api/version"],
        [b"X-HTTP-Method-Override: OPTIONS"],
        [b"Origin: http://localhost"],
        [b"User-Agent: corral-cli"],
        [b"X-Corral-Internal: 1"],
        [b"Sec-WebSocket-Protocol: KEY"],
        [b"Authorization : Bearer KEY"],
        [b"Authorization\t: Bearer KEY"],
        [b"X: y\r\n Authorization: Bearer KEY"],
        [b"Authorization: Bearer \x00KEY"],
        [b"Authorization: Bearer KEY\x00"],
        [b"Authorization: Digest username=KEY, response=KEY"],
        [b"Api-Key: KEY"],
        [b"X-Corral-Key: KEY"],
        [b"X-Forwarded-User: admin", b"Remote-User: admin"],
        [b"X-Forwarded-For: ::1", b"X-Forwarded-Host: localhost", b"X-Forwarded-Proto: https"],
        [b"Via: 1.1 localhost", b"True-Client-IP: 127.0.0.1", b"CF-Connecting-IP: 127.0.0.1"],
        [b"Referer: http://localhost/ui/", b"Sec-Fetch-Site: same-origin"],
        [b"X-HTTP-Method: GET", b"X-Method-Override: OPTIONS"],
        [b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"],
        [b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13"],
        [b"Expect: 100-continue"],
    ],
    ids=lambda headers: b" ".join(headers).decode()[:50],
)
def test_no_header_stands_for_a_key(keyed: KeyedServer, headers: list[bytes]) -> None:
    text = keyed.texts["admin"].encode()
    made = [
        header.replace(b"KEY", text).replace(b"CUT", text[:-1]).replace(b"UPPER", text.upper())
        for header in headers
    ]
    assert is_shut(exchange(keyed, get(b"/api/tags", *made)))


@pytest.mark.parametrize(
    "headers",
    [
        [b"Authorization: Bearer KEY"],
        [b"authorization:bearer   KEY  "],
        [b"AUTHORIZATION:\tBEARER KEY"],
        [b"X-API-Key: KEY"],
        [b"Authorization: Bearer KEY", b"x-api-key: KEY"],
        [b"Authorization: Basic eHk6eno=", b"x-api-key: KEY"],
    ],
    ids=lambda headers: b" ".join(headers).decode()[:50],
)
def test_what_does(keyed: KeyedServer, headers: list[bytes]) -> None:
    text = keyed.texts["read"].encode()
    assert statuses(exchange(keyed, get(b"/api/tags", *(h.replace(b"KEY", text) for h in headers)))) == [200]


@pytest.mark.parametrize(
    "method",
    [b"get", b"Get", b"GETS", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"POST", b"\xc3\x89"],
)
@pytest.mark.parametrize("path", [b"/api/tags", b"/api/keys", b"/api/delete", b"/v2/_catalog"])
def test_no_method_leads_around(keyed: KeyedServer, method: bytes, path: bytes) -> None:
    assert not {200, 201} & set(statuses(exchange(keyed, get(path, method=method))))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /api/tags\r\n\r\n",
        b"GET /api/tags HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /api/tags HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /api/tags  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET\t/api/tags\tHTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\nGET /api/tags HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /api/tags HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n",
        b"GET /api/tags HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: KEY@127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: 127.0.0.1/api/version\r\nConnection: close\r\n\r\n",
    ],
)
def test_no_form_of_a_request_leads_around(keyed: KeyedServer, data: bytes) -> None:
    """Other versions of HTTP, and what only resembles it."""
    answer = exchange(keyed, data.replace(b"KEY", keyed.texts["admin"].encode()), half_closes=True)
    assert not answer or is_shut(answer), answer


def test_http_1_0_remembers_no_key_either(keyed: KeyedServer) -> None:
    keep = b"Connection: keep-alive\r\n"
    keyless = b"GET /api/tags HTTP/1.0\r\n%b%b\r\n" % (HOST, keep)
    with_key = keyless.replace(keep, keep + b"Authorization: Bearer %b\r\n" % keyed.texts["read"].encode())
    answer = exchange(keyed, with_key + keyless + keyless.replace(keep, b""), half_closes=True)
    found = statuses(answer.replace(b"HTTP/1.0 ", b"HTTP/1.1 "))
    assert found[0] == 200 and set(found[1:]) <= {401}, answer


def test_a_key_in_a_trailer_is_none(keyed: KeyedServer) -> None:
    """It comes after the body, when the request has been judged."""
    head = b"POST /api/show HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n" % HOST
    body = b'f\r\n{"model":"say"}\r\n0\r\nAuthorization: Bearer %b\r\n\r\n' % keyed.texts["admin"].encode()
    answer = exchange(keyed, head + body, half_closes=True)
    assert statuses(answer)[:1] == [401] and 200 not in statuses(answer)


def test_what_is_open_tells_nothing(keyed: KeyedServer) -> None:
    """Health, version and page do not name models, keys or the machine to those who have no key."""
    keyed.post("/api/generate", {"model": "say", "prompt": "now A", "stream": False})
    for path in (b"/", b"/healthz", b"/readyz", b"/api/version", b"/api/status", b"/openapi.json", b"/ui/"):
        answer = exchange(keyed, get(path))
        assert statuses(answer)[0] in (200, 307, 404), (path, answer[:200])
        for secret in (b"say:latest", str(keyed.folder).encode(), keyed.texts["admin"][:11].encode()):
            assert secret not in answer, path


def test_a_preflight_gives_nothing_away(keyed: KeyedServer) -> None:
    """Browsers ask without a key; the request after it needs one all the same."""
    origin = b"Origin: http://localhost:3000"
    ask = b"Access-Control-Request-Method: GET"
    answer = exchange(keyed, get(b"/api/tags", origin, ask, method=b"OPTIONS"))
    assert statuses(answer) == [204] and b"authorization" in answer.lower()
    answer = exchange(keyed, get(b"/api/tags", origin))
    assert is_shut(answer) and b"access-control-allow-origin: http://localhost:3000" in answer


def test_a_connection_does_not_remember_a_key(keyed: KeyedServer) -> None:
    """Each request shows its own; the next one may be another client's, behind a proxy."""
    keyless = b"GET /api/tags HTTP/1.1\r\n%b\r\n" % HOST
    with_key = keyless.replace(
        b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % keyed.texts["read"].encode()
    )
    with_other = keyless.replace(
        b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % keyed.texts["infer"].encode()
    )
    last = get(b"/api/tags")
    answer = exchange(keyed, with_key + keyless + with_other + with_key + last)
    assert statuses(answer) == [200, 401, 403, 200, 401]
    with connect(keyed) as client:
        for request, status in (
            (with_key, b"200"),
            (keyless, b"401"),
            (with_key, b"200"),
            (with_other, b"403"),
        ):
            client.sendall(request)
            assert read_until(client, b"}").startswith(b"HTTP/1.1 " + status)
            client.settimeout(0.2)
            try:
                while client.recv(1 << 16):
                    pass
            except TimeoutError:
                client.settimeout(60)


@pytest.mark.parametrize(
    "inner",
    [
        b"GET /api/tags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        b'DELETE /api/delete HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"model":"say"}',
    ],
)
def test_no_request_hides_in_a_body(keyed: KeyedServer, inner: bytes) -> None:
    """Bodies with two lengths, or chunks that end early, do not begin a second request for somebody else."""
    inner = inner.replace(b"KEY", keyed.texts["admin"].encode())
    head = b"POST /api/show HTTP/1.1\r\n" + HOST
    tricks = [
        head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % len(inner) + inner,
        head + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner,
        head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + inner,
        head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner,
        head + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + inner,
        head + b"Content-Length: %d\r\n\r\n" % len(inner) + inner,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + inner,
        head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + inner,
        head + b"Content-Length: +5\r\n\r\nhello" + inner,
        b"POST /api/show HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
    ]
    for trick in tricks:
        answer = exchange(keyed, trick, half_closes=True)
        assert 200 not in statuses(answer), (trick, answer)
    assert keyed.request("POST", "/api/show", {"model": "say"})[0] == 200


def test_a_chunked_body_after_a_refusal_is_not_a_request(keyed: KeyedServer) -> None:
    """The server answers 401 before the body came; what comes then is still the body."""
    with connect(keyed) as client:
        client.sendall(b"POST /api/chat HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST)
        assert read_until(client, b"}").startswith(b"HTTP/1.1 401")
        inner = get(b"/api/tags", b"Authorization: Bearer " + keyed.texts["admin"].encode())
        client.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner))
        client.shutdown(socket.SHUT_WR)
        rest = b""
        while piece := client.recv(1 << 16):
            rest += piece
        assert b"HTTP/1.1 200" not in rest


def test_unknown_and_wrong_keys_get_the_same_answer(
    start_server: Callable[..., Server], keyed: KeyedServer
) -> None:
    """Byte for byte but for the date, with the same headers; then they have to wait."""
    server = KeyedServer()
    try:
        known = server.texts["infer"]
        tries = [
            known[:-1] + "!",
            known[:12] + "0" * 43,
            "ck_zzzzzzzz_" + "0" * 43,
            "sk-anything",
            "x" * 5000,
            "é",
        ]
        answers = set()
        for text in tries:
            answer = exchange(server, get(b"/api/tags", b"x-api-key: " + text.encode()))
            answers.add(b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(_OF_EACH)))
        (only,) = answers
        assert statuses(only) == [401]
        for _ in range(4):
            exchange(server, get(b"/api/tags", b"x-api-key: wrong"))
        answer = exchange(server, get(b"/api/tags", b"x-api-key: wrong"))
        assert statuses(answer) == [429] and b"retry-after: " in answer
        assert statuses(exchange(server, get(b"/api/tags"))) == [401]
        # Who has a valid key behind the same address goes on: nobody can guess one in ten tries, or in ten billion.
        assert server.request("GET", "/api/tags", None, server.auth("read"))[0] == 200
    finally:
        server.close()


def test_basic_is_for_the_registry_alone(keyed: KeyedServer) -> None:
    secret = base64.b64encode(b"anybody:" + keyed.texts["registry:pull"].encode())
    asked = exchange(keyed, get(b"/v2/"))
    assert statuses(asked) == [401] and b'www-authenticate: Basic realm="corral"' in asked
    assert b'"code":"UNAUTHORIZED"' in asked
    assert statuses(exchange(keyed, get(b"/v2/", b"Authorization: Basic " + secret))) == [200]
    assert statuses(exchange(keyed, get(b"/api/tags", b"Authorization: Basic " + secret))) == [401]
    for broken in (
        b"",
        b"!!",
        b"Zg",
        secret[:-8],
        base64.b64encode(b"no colon"),
        base64.b64encode(b"\xff:\xff"),
    ):
        assert statuses(exchange(keyed, get(b"/v2/", b"Authorization: Basic " + broken)))[0] in (401, 429)


def test_a_bound_key_cannot_make_a_free_one(keyed: KeyedServer) -> None:
    bound = bearer(keyed.make("manager", **scoped(("infer", "manage"), "say*")))
    assert keyed.request("POST", "/api/keys", {"name": "x", "scopes": ["admin"]}, bound)[0] == 403
    assert keyed.request("POST", "/api/keys/manager/rotate", {}, bound)[0] == 403
    status, answer = keyed.request("GET", "/api/keys/me", None, bound)
    assert status == 200 and json.loads(answer)["models"] == ["say*"]
    wanted = {"name": "x", "scopes": ["admin"], "models": ["say*"]}
    assert keyed.request("POST", "/api/keys", wanted)[0] == 400  # an admin could make keys for all models


def test_nothing_of_a_key_is_in_the_log(keyed: KeyedServer) -> None:
    text = keyed.texts["read"]
    keyed.request("GET", f"/api/tags?key={text}", None, bearer(text))
    keyed.request("GET", f"/api/tags?key={text}", None, {"X-Api-Key": text + "x"})
    status, answer = keyed.request("POST", "/api/keys", {"name": "logged"})
    made = json.loads(answer)["key"]
    assert status == 201
    log = "".join(keyed.log)
    assert text[12:] not in log and made[12:] not in log
    assert f"key={text[3:11]}" in log


def test_other_refusals_keep_their_form(keyed: KeyedServer) -> None:
    """What Ollama answers with 403 for another reason has no word about keys in it."""
    body = {"model": "say", "input": "x", "tools": [{"type": "web_search"}]}
    cloud = {"model": "gpt-oss:120b-cloud", "messages": []}
    for path, asked in (("/v1/responses", body), ("/v1/chat/completions", cloud)):
        status, answer = keyed.request("POST", path, asked)
        assert status != 403 or b"API key" not in answer
        assert b"insufficient_permissions" not in answer
