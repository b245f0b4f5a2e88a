"""Request heads and body framing without sockets: what is taken, what is refused, and that cuts do not matter."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.web.framing import ChunkedBody, SizedBody
from corral.web.heads import HeadError, Request, find_head_end, parse_head

HOST = b"Host: a\r\n"


def post(*lines: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /x HTTP/" + version + b"\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@pytest.mark.parametrize(
    ("head", "path", "query"),
    [
        (b"GET /a/b?c=d%20e HTTP/1.1\r\nHost: x\r\n\r\n", "/a/b", b"c=d%20e"),
        (b"GET /a%20b%2Fc HTTP/1.1\r\nHost: x\r\n\r\n", "/a b/c", b""),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "/", b""),
        (b"GET / HTTP/1.1\nHost: x\n\n", "/", b""),
        (b"GET http://other:80/p?q HTTP/1.1\r\nHost: x\r\n\r\n", "/p", b"q"),
        (b"GET http://other HTTP/1.1\r\nHost: x\r\n\r\n", "/", b""),
        (b"GET http://other?q HTTP/1.1\r\nHost: x\r\n\r\n", "/", b"q"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "*", b""),
        (b"GET /\xe4\xb8\xad HTTP/1.1\r\nHost: x\r\n\r\n", "/中", b""),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", "/\ufffd", b""),
        (b"GET / HTTP/1.0\r\n\r\n", "/", b""),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", b""),
        (b"CONNECT a:22 HTTP/1.1\r\nHost: a:22\r\n\r\n", "", b""),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", "/", b""),
    ],
)
def test_targets(head: bytes, path: str, query: bytes) -> None:
    """Origin form, absolute form, asterisk; lines that end without CR; empty lines before the request."""
    request = parse_head(head)
    assert (request.path, request.query) == (path, query)


def test_the_host_of_an_absolute_target_counts() -> None:
    """As in Go: or the Host guard would look at a header that says nothing."""
    request = parse_head(b"GET http://evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [value for name, value in request.headers if name == b"host"] == [b"evil.example"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G\xffT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (post(b"X : y"), 400),
        (post(b": y"), 400),
        (post(b"X: a\x00b"), 400),
        (post(b"X: a\rb"), 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (post(b"Content-Length: 2", b"Content-Length: 2"), 400),
        (post(b"Content-Length: 2", b"Content-Length: 3"), 400),
        (post(b"Content-Length: 2, 2"), 400),
        (post(b"Content-Length: +2"), 400),
        (post(b"Content-Length: -1"), 400),
        (post(b"Content-Length: 0x2"), 400),
        (post(b"Content-Length:"), 400),
        (post(b"Content-Length: 99999999999999999999"), 400),
        (post(b"Content-Length: 9223372036854775808"), 400),
        (post("Content-Length: ٢".encode()), 400),
        (post(b"Content-Length: 2", b"Transfer-Encoding: chunked"), 400),
        (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 501),
        (post(b"Transfer-Encoding: xchunked"), 501),
        (post(b"Transfer-Encoding: chunked, identity"), 501),
        (post(b"Transfer-Encoding: gzip, chunked"), 501),
        (post(b"Expect: miracles"), 417),
        (post(*[b"a%d: b" % i for i in range(501)]), 431),
    ],
)
def test_what_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        parse_head(head)
    assert caught.value.status == status
    assert str(caught.value)


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Upgrade, CLOSE", False),
        (b"1.1", b"Upgrade, HTTP2-Settings", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
    ],
)
def test_whether_the_connection_stays(version: bytes, connection: bytes, keeps_alive: bool) -> None:
    assert parse_head(post(b"Connection: " + connection, version=version)).keeps_alive is keeps_alive


def test_sizes_up_to_63_bits() -> None:
    """As Go reads them; whether there is room is not the head's matter."""
    assert parse_head(post(b"Content-Length: 9223372036854775807")).size_bytes == 2**63 - 1


def test_folded_lines_are_joined() -> None:
    request = parse_head(post(b"X: a", b"\t b", b" c", b"Y: d"))
    assert request.headers[1:] == [(b"x", b"a b c"), (b"y", b"d")]


def test_blanks_before_folds() -> None:
    """A fold is one blank, as in Go; a head that is full of blanks takes no longer than others."""
    assert parse_head(post(b"X: a \t", b"\t b \t", b" ", b" c")).headers[1:] == [(b"x", b"a b  c")]
    value = parse_head(post(b"X: a" + b" " * 60_000 + b"b", b" c")).headers[1][1]
    assert value == b"a" + b" " * 60_000 + b"b c"


def test_chunked_in_http10_ends_the_connection() -> None:
    request = parse_head(post(b"Transfer-Encoding: chunked", b"Connection: keep-alive", version=b"1.0"))
    assert (request.is_chunked, request.keeps_alive) == (True, False)


_NAMES = st.from_regex(rb"\A[A-Za-z][A-Za-z0-9-]{0,12}\Z").filter(
    lambda name: name.lower() not in (b"host", b"content-length", b"transfer-encoding", b"expect")
)
_VALUES = st.from_regex(rb"\A[!-~]([ -~]{0,20}[!-~])?\Z")


@pytest.mark.slow
@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8), st.from_regex(rb"\A/[!-$&-~]{0,20}\Z"))
def test_sound_heads_are_read_as_h11_reads_them(headers: list[tuple[bytes, bytes]], target: bytes) -> None:
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    head = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert parse_head(head).headers == list(event.headers)
    assert find_head_end(head) == len(head)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert isinstance(parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"), Request)
    except HeadError as error:
        assert error.status in (400, 417, 431, 501)


def read_chunked(data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The body and what follows it, fed in pieces."""
    body = ChunkedBody()
    parts: list[bytes] = []
    rest = b""
    bounds = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(bounds):
        if body.is_done:
            rest += data[start:end]
            continue
        parts.append(body.feed(data[start:end]))
        while body.has_more:
            parts.append(body.feed(b""))
    assert body.is_done
    return b"".join(parts), body.rest + rest


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.sampled_from([b"", b";a=b", b' ; a="b c"']),
    st.sampled_from([b"", b"X: y\r\nHost: evil\r\n"]),
    st.lists(st.integers(0, 1000), max_size=12),
)
def test_chunked_bodies_at_every_cut(
    chunks: list[bytes], extension: bytes, trailer: bytes, cuts: list[int]
) -> None:
    """Extensions and trailers are passed over, and what follows the body is left alone."""
    data = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    data += b"0" + extension + b"\r\n" + trailer + b"\r\nGET /next"
    assert read_chunked(data, cuts) == (b"".join(chunks), b"GET /next")


def test_thousands_of_tiny_chunks_are_read_in_slices() -> None:
    """One piece of work on the event loop stays small."""
    body = ChunkedBody()
    first = body.feed(b"1\r\nx\r\n" * 5000)
    assert body.has_more and len(first) < 500
    total = len(first)
    while body.has_more:
        total += len(body.feed(b""))
    assert total == 5000


@pytest.mark.parametrize(
    "data",
    [
        b"2\n{}\n0\n\n",
        b"2;a\nxx\r\n{}\r\n0\r\n\r\n",
        b"ffffffffffffffff1\r\n{}",
        b"2\r\n{}x",
        b"-2\r\n{}\r\n",
        b"0x2\r\n{}\r\n",
        b"\r\n2\r\n{}\r\n",
        b"2;" + b"a" * 5000,
        b"2;" + b"a" * 5000 + b"\r\n{}\r\n",
        b"0\r\n" + b"a: b\r\n" * 20000,
    ],
)
def test_broken_chunks_are_refused(data: bytes) -> None:
    body = ChunkedBody()
    with pytest.raises(HeadError):
        body.feed(data)
        while body.has_more:
            body.feed(b"")


@given(st.binary(max_size=100), st.binary(max_size=20), st.integers(0, 120))
def test_sized_bodies(content: bytes, following: bytes, cut: int) -> None:
    body = SizedBody(len(content))
    data = content + following
    cut = min(cut, len(data))
    got = body.feed(data[:cut])
    if body.is_done:
        assert got + body.rest == data[:cut] and got == content
    else:
        got += body.feed(data[cut:])
        assert (got, body.rest, body.is_done) == (content, following, True)
