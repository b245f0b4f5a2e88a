"""What clients send on the wire: upgrades, HTTP/1.0, pipelines, 100-continue, half-closed, and hostile heads."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.conftest import Server
from tests.web.wire import HOST, chat, connect, exchange, read_all, read_until, statuses

VERSION = b"GET /api/version HTTP/1.1\r\n" + HOST + b"\r\n"
LAST = b"GET /api/version HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
SHOW = b'{"model":"say"}'


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "headers",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        (b"connection: http2-settings, upgrade", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"UPGRADE: h2c"),
        (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"),
        (b"Connection: keep-alive, Upgrade", b"Upgrade: TLS/1.0"),
    ],
)
@pytest.mark.parametrize("follows", [False, True])
def test_offers_of_another_protocol_are_ignored(
    server: Server, headers: tuple[bytes, ...], follows: bool
) -> None:
    """The body is read, the answer is HTTP/1.1, and what is sent after it is a request."""
    sent = (
        chat(*headers, stream=False) + LAST if follows else chat(*headers, b"Connection: close", stream=False)
    )
    answer = exchange(server, sent)
    assert statuses(answer) == ([200, 200] if follows else [200])
    assert b'"done":true' in answer
    assert b"upgrade" not in answer.lower()


def test_an_upgrade_with_a_chunked_body(server: Server) -> None:
    head = b"POST /api/show HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SHOW), SHOW)
    assert statuses(exchange(server, head + chunked + LAST)) == [200, 200]


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
def test_an_upgrade_without_a_body(server: Server, offer: bytes) -> None:
    head = b"GET /api/version HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: " + offer + b"\r\n\r\n"
    assert statuses(exchange(server, head + LAST)) == [200, 200]


@pytest.mark.parametrize("headers", [(), (b"Connection: close",), (b"Connection: keep-alive",)])
def test_streams_to_http10_end_with_the_connection(server: Server, headers: tuple[bytes, ...]) -> None:
    """Such clients know no chunks."""
    answer = exchange(server, chat(*headers, version=b"1.0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert json.loads(body.splitlines()[-1])["done"] is True


def test_http10_connections_stay_when_both_want_it(server: Server) -> None:
    """`ab -k` and old proxies: the answer has a length and says that the connection stays."""
    with connect(server) as client:
        for _ in range(2):
            client.sendall(b"GET /api/version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = read_until(client, b"}")
            assert b"connection: keep-alive" in answer and b"content-length" in answer
        client.sendall(b"GET /api/version HTTP/1.0\r\n\r\n")
        assert b"connection: close" in read_all(client)


def test_early_requests_are_answered_in_order(server: Server) -> None:
    """Also after a stream, and after a body that nobody read."""
    unread = b"POST /nope HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
    answer = exchange(server, VERSION + unread + chat() + b"\r\n\r\n" + VERSION + LAST)
    assert statuses(answer) == [200, 404, 200, 200, 200]


def test_hundreds_of_early_requests(server: Server) -> None:
    assert statuses(exchange(server, VERSION * 500 + LAST)) == [200] * 501


def test_who_expects_100_continue_gets_it_before_the_answer(server: Server) -> None:
    """As curl with a large body, and .NET always."""
    head = (
        b"POST /api/show HTTP/1.1\r\n"
        + HOST
        + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    )
    with connect(server) as client:
        client.sendall(head % len(SHOW))
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(SHOW)
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_who_expects_100_continue_is_refused_before_the_body(server: Server) -> None:
    head = b"POST /api/show HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    answer = exchange(server, head)
    assert statuses(answer) == [413] and b"100 Continue" not in answer


def test_a_half_closed_connection_gets_its_answer(server: Server) -> None:
    assert body_of(exchange(server, VERSION, half_closes=True)).startswith(b'{"version"')


def test_head_and_options(server: Server) -> None:
    head = b"HEAD /api/tags HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    answer = exchange(server, head)
    assert statuses(answer) == [200] and body_of(answer) == b"" and b"content-length: 0" not in answer
    star = exchange(server, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert statuses(star) == [200] and body_of(star) == b""


@pytest.mark.parametrize("method", [b"get", b"FOO", b"TRACE", b"PUT"])
def test_other_methods_are_not_allowed(server: Server, method: bytes) -> None:
    """Methods are case-sensitive; any word may be one."""
    answer = exchange(server, method + b" /api/tags HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [405] and b"allow: HEAD, GET" in answer


def test_smuggled_requests_are_not_served(server: Server) -> None:
    head = b"POST /api/show HTTP/1.1\r\n" + HOST
    for framing in (
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n2;a\nxx\r\n{}\r\n0\r\n\r\n",
    ):
        assert statuses(exchange(server, head + framing + VERSION)) == [400]


def test_a_body_that_breaks_after_the_answer_gets_no_second_one(server: Server) -> None:
    for connection in (b"", b"Connection: close\r\n"):
        with connect(server) as client:
            head = b"POST /nowhere HTTP/1.1\r\n" + HOST + connection + b"Transfer-Encoding: chunked\r\n\r\n"
            client.sendall(head + b"1\r\nx\r\n")
            answer = read_until(client, b"404 page not found")
            client.sendall(b"no size\r\n" + VERSION)
            assert statuses(answer + read_all(client)) == [404]


@pytest.mark.parametrize("path", [b"/v1//models/x%0d%0aX-Injected:%201", b"/v1/models/x%0d%0aX-Injected:1/"])
def test_redirects_carry_no_line_ends(server: Server, path: bytes) -> None:
    answer = exchange(server, b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert statuses(answer)[0] in (301, 307)
    assert b"\r\nX-Injected" not in answer and b"%0d%0ax-injected" in answer.lower()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/version HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (1 << 20),
        b"GET /" + b"a" * (1 << 20),
        b"GET /api/version HTTP/1.1\r\n" + HOST + b"".join(b"a%d: b\r\n" % i for i in range(60000)),
        b"GET /api/version HTTP/1.1\r\n" + HOST + b"".join(b"a%d: b\r\n" % i for i in range(600)) + b"\r\n",
    ],
    ids=["header", "target", "headers", "count"],
)
def test_long_heads_are_refused(server: Server, head: bytes) -> None:
    """64 KiB and 500 headers, as they arrive, not when they are complete."""
    answer = exchange(server, head)
    assert statuses(answer) == [431]


def test_a_tls_client_is_turned_away_at_once(server: Server) -> None:
    assert statuses(exchange(server, bytes.fromhex("16030100ee010000ea0303"))) == [400]


def send_show(server: Server, body: bytes, encoding: str) -> tuple[int, bytes]:
    return server.request("POST", "/api/show", body, {"Content-Encoding": encoding})


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes),
        ("utf-8", bytes),
        ("gzip", bytes),
        ("gzip, zstd", lambda data: zstandard.ZstdCompressor().compress(gzip.compress(data))),
    ],
)
def test_packed_bodies_are_unpacked(server: Server, encoding: str, pack: object) -> None:
    assert callable(pack)
    status, answer = send_show(server, pack(SHOW), encoding)
    assert (status, b"model_info" in answer) == (200, True)
    completion = json.dumps({"model": "say", "messages": [{"role": "user", "content": "now A"}]}).encode()
    answered = server.request(
        "POST", "/v1/chat/completions", pack(completion), {"Content-Encoding": encoding}
    )
    assert answered[0] == 200


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, br", "x, y, z"])
def test_unknown_encodings_are_named(server: Server, encoding: str) -> None:
    status, answer = send_show(server, b"\x00\x01", encoding)
    assert status == 415 and b"gzip, deflate or zstd" in answer


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"\x1f\x8b nonsense"),
        ("gzip", gzip.compress(SHOW, mtime=0)[:-5]),
        ("deflate", b"\xff\xff\xff"),
        ("zstd", b"\x28\xb5\x2f\xfd\xff\xff"),
        ("zstd", b"none"),
        ("gzip", gzip.compress(b"", mtime=0) * 100),
    ],
)
def test_bodies_that_do_not_unpack(server: Server, encoding: str, body: bytes) -> None:
    status, answer = send_show(server, body, encoding)
    assert status == 400 and encoding.encode() in answer


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.ZstdCompressor(level=19).compress),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    ],
)
def test_bombs_are_stopped(server: Server, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(40 << 20))
    assert len(bomb) < 100_000
    assert send_show(server, bomb, encoding)[0] == 413


@pytest.mark.parametrize("path", ["/api/copy", "/api/pull", "/api/show", "/api/create"])
def test_bodies_are_bounded_by_route(server: Server, path: str) -> None:
    """Where no picture can be, a few megabytes are too many; the client gets to read why."""
    method = "POST"
    status, answer = server.request(method, path, b'{"model":"' + b"x" * (9 << 20) + b'"}')
    assert status == 413 and b"larger than" in answer


def test_what_has_no_length_is_bounded_as_it_comes(server: Server) -> None:
    head = b"POST /api/copy HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert statuses(exchange(server, head + chunk * 4 + b"0\r\n\r\n")) == [413]
