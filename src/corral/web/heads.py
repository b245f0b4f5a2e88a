"""Request heads: bytes in, a checked `Request` out, no I/O. Accepts and refuses what Go's net/http does.

Unlike Go, a second Content-Length is refused even if it says the same, and so is one beside Transfer-Encoding: no
client sends them, and they allow request smuggling between servers that read them differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 500

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(rb"(%b) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_HEADERS = re.compile(rb"(?:%b:[^\x00-\x08\x0a-\x1f\x7f]*\r?\n)*\r?\n" % _TOKEN)
_HEADER_LINE = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)")
_SPECIAL = frozenset((b"host", b"connection", b"expect", b"content-length", b"transfer-encoding"))
# A run of blanks is matched from its beginning only, so that long runs take linear time.
_FOLD = re.compile(rb"(?<![ \t])[ \t]*(?:\r?\n[ \t]+)+")
_HOST = re.compile(rb"[!$%&'()*+,\-.:;=@\[\]_~0-9A-Za-z]*")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SIZE = re.compile(rb"[0-9]{1,19}")
_MAX_SIZE = (1 << 63) - 1
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)


class HeadError(Exception):
    """A request that is refused by its head; the text is for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Request:
    """A request without its body. Header names are in lower case; `path` is decoded, `raw_path`, `query` are not."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    is_http10: bool = False
    keeps_alive: bool = True
    size_bytes: int = 0
    is_chunked: bool = False
    expects_continue: bool = False
    raw_path: str = ""


def find_head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where the head ends and the body begins; -1 if the head is not complete. Lines may end without CR."""
    match = _END.search(data, start)
    return match.end() if match else -1


def parse_head(head: bytes) -> Request:
    """Read a whole head, its blank line included.

    Raises:
        HeadError
    """
    line, _, rest = head.lstrip(b"\r\n").partition(b"\n")
    match = _REQUEST_LINE.fullmatch(line.removesuffix(b"\r"))
    if match is None:
        raise HeadError(400, "malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HeadError(505, "unsupported protocol version")
    headers = _parse_headers(rest)
    raw_path, query, authority = _split_target(target, method)
    path = _decoded(raw_path)
    request = Request(
        method.decode("ascii"),
        path,
        query,
        headers,
        is_http10=minor == b"0",
        raw_path=raw_path.decode("latin-1"),
    )
    special: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _SPECIAL:
            special.setdefault(name, []).append(value)
    _check_host(request, special.get(b"host", []), authority)
    _read_connection(request, special)
    _read_framing(request, special)
    return request


def _parse_headers(block: bytes) -> list[tuple[bytes, bytes]]:
    if b"\n " in block or b"\n\t" in block or block[:1] in (b" ", b"\t"):
        if block[:1] in (b" ", b"\t"):
            raise HeadError(400, "malformed header line")
        block = _FOLD.sub(lambda folds: b" " * folds[0].count(b"\n"), block)
    if not _HEADERS.fullmatch(block):
        raise HeadError(400, "malformed header line")
    headers = [(name.lower(), value.rstrip(b" \t")) for name, value in _HEADER_LINE.findall(block)]
    if len(headers) > MAX_HEADERS:
        raise HeadError(431, f"more than {MAX_HEADERS} headers")
    return headers


def _split_target(target: bytes, method: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Path as sent, query, and the host of an absolute target, which counts in place of the Host header."""
    authority = None
    if method == b"CONNECT":
        return b"", b"", target
    if match := _ABSOLUTE.match(target):
        authority, target = match[1].rpartition(b"@")[2], match[2]
        target = target if target.startswith(b"/") else b"/" + target
    elif target != b"*" and not target.startswith(b"/"):
        raise HeadError(400, "invalid target")
    path, _, query = target.partition(b"?")
    return path, query, authority


def _decoded(path: bytes) -> str:
    if b"%" in path:
        if _BAD_ESCAPE.search(path):
            raise HeadError(400, "invalid URL escape")
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace")


def _check_host(request: Request, hosts: list[bytes], authority: bytes | None) -> None:
    if len(hosts) > 1:
        raise HeadError(400, "too many Host headers")
    if not hosts and authority is None and not request.is_http10:
        raise HeadError(400, "missing required Host header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise HeadError(400, "malformed Host header")
    if authority is not None:
        if not _HOST.fullmatch(authority):
            raise HeadError(400, "malformed Host header")
        others = [header for header in request.headers if header[0] != b"host"]
        request.headers = [(b"host", authority), *others]


def _read_connection(request: Request, values: dict[bytes, list[bytes]]) -> None:
    request.keeps_alive = not request.is_http10 and request.method != "CONNECT"
    for value in values.get(b"connection", ()):
        tokens = [token.strip() for token in value.lower().split(b",")]
        if request.is_http10:
            request.keeps_alive = request.keeps_alive or b"keep-alive" in tokens
        else:
            request.keeps_alive = request.keeps_alive and b"close" not in tokens
    if expectations := values.get(b"expect"):
        if [value.lower() for value in expectations] != [b"100-continue"]:
            raise HeadError(417, "only 100-continue can be expected")
        request.expects_continue = not request.is_http10


def _read_framing(request: Request, values: dict[bytes, list[bytes]]) -> None:
    sizes, codings = values.get(b"content-length"), values.get(b"transfer-encoding")
    if codings:
        if sizes:
            raise HeadError(400, "both Content-Length and Transfer-Encoding")
        if [value.lower() for value in codings] != [b"chunked"]:
            raise HeadError(501, "unsupported transfer encoding")
        request.is_chunked = True
        # In HTTP/1.0 it may come from a proxy that does not know the header: nothing may follow.
        request.keeps_alive = request.keeps_alive and not request.is_http10
    elif sizes:
        if len(sizes) > 1:
            raise HeadError(400, "more than one Content-Length")
        if not _SIZE.fullmatch(sizes[0]) or int(sizes[0]) > _MAX_SIZE:
            raise HeadError(400, "bad Content-Length")
        request.size_bytes = int(sizes[0])
