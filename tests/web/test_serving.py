"""The page as a browser gets it from the server."""

from __future__ import annotations

import gzip
import http.client
import re
from collections.abc import Callable
from email.message import Message

import pytest

from corral.api.ui.files import page_files
from corral.config import Settings
from corral.errors import CorralError
from tests.conftest import Server

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types corral dompurify"
)
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Dest": "document"}


def ask(
    server: Server, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, Message, bytes]:
    """An answer as it comes, no redirect followed, nothing unpacked."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_page_with_its_headers(server: Server) -> None:
    """The headers of the page hold for each of its files, too."""
    for name in ("", *page_files()):
        status, headers, body = ask(server, f"/ui/{name}")
        assert status == 200 and body
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["permissions-policy"] == "camera=(), geolocation=(), microphone=(self)"
        assert headers["vary"] == "Accept-Encoding"
        assert "set-cookie" not in headers


def test_caching(server: Server) -> None:
    """Names with a hash are kept forever, the others are asked for again and cost nothing if nothing changed."""
    script = next(name for name in page_files() if re.fullmatch(r"index-.*\.js", name))
    assert ask(server, f"/ui/{script}")[1]["cache-control"] == "public, max-age=31536000, immutable"
    _, headers, _ = ask(server, "/ui/", {"Accept-Encoding": "br"})
    assert headers["cache-control"] == "no-cache"
    status, again, body = ask(server, "/ui/", {"Accept-Encoding": "br", "If-None-Match": headers["etag"]})
    assert (status, body) == (304, b"")
    assert again["etag"] == headers["etag"]
    assert ask(server, "/ui/", {"If-None-Match": headers["etag"]})[0] == 200, "another form, another tag"


def test_forms_of_a_file(server: Server) -> None:
    """Brotli, gzip or plain, as the browser takes it; HEAD has the same headers."""
    plain = ask(server, "/ui/")
    assert plain[1]["content-encoding"] is None
    packed = ask(server, "/ui/", {"Accept-Encoding": "gzip"})
    assert packed[1]["content-encoding"] == "gzip"
    assert gzip.decompress(packed[2]) == plain[2]
    brotli = ask(server, "/ui/", {"Accept-Encoding": "gzip, br"})
    assert brotli[1]["content-encoding"] == "br"
    head = ask(server, "/ui/", {"Accept-Encoding": "gzip"}, method="HEAD")
    assert (head[0], head[2]) == (200, b"")
    assert head[1]["content-length"] == str(len(packed[2]))
    assert head[1]["etag"] == packed[1]["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/ui/nothing.js",
        "/ui/..%2f..%2fserver.py",
        "/ui/%2e%2e/server.py",
        "/ui/..",
        "/ui/index.html%00.js",
        "/ui/__init__.py",
        "/ui/a/b",
        "/ui//index.html/",
    ],
)
def test_nothing_else_is_served(server: Server, path: str) -> None:
    """Names are looked up in a table: no path is made of a request."""
    status, _, body = ask(server, path)
    assert status in (301, 307, 404)
    assert b"import" not in body


def test_other_methods(server: Server) -> None:
    """The page only reads."""
    assert ask(server, "/ui/", method="POST")[0] == 405


def test_root_is_for_programs(server: Server) -> None:
    """Programs get Ollama's text, whatever they accept; browsers that open the address get the page."""
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "text/html"}, {"Sec-Fetch-Dest": "document"}):
        status, _, body = ask(server, "/", headers)
        assert (status, body) == (200, b"Ollama is running")
    status, answered, _ = ask(server, "/", BROWSER)
    assert (status, answered["location"], answered["cache-control"]) == (302, "ui/", "no-store")
    plain = {"Accept": "text/html", "Upgrade-Insecure-Requests": "1"}
    assert ask(server, "/", plain)[0] == 302, "a browser sends no Sec-Fetch-Dest over plain HTTP on a network"
    assert ask(server, "/", {**BROWSER, "Sec-Fetch-Dest": "empty"})[0] == 200, "a script of a page"
    assert ask(server, "/", BROWSER, method="HEAD")[0] == 200
    assert ask(server, "/ui")[1]["location"] == "ui/"


def test_redirect_off(start_server: Callable[..., Server]) -> None:
    """CORRAL_UI_REDIRECT=0 leaves `/` alone; the page is still there."""
    server = start_server(CORRAL_UI_REDIRECT="0")
    assert ask(server, "/", BROWSER)[2] == b"Ollama is running"
    assert ask(server, "/ui/")[0] == 200


def test_page_off(start_server: Callable[..., Server]) -> None:
    """CORRAL_SURFACES_OFF=ui: no page, no redirect, no line in the log."""
    server = start_server(CORRAL_SURFACES_OFF="ui")
    assert ask(server, "/ui/")[0] == 404
    assert ask(server, "/", BROWSER)[2] == b"Ollama is running"
    assert not any("web page" in line for line in server.log)


def test_tool_origins(start_server: Callable[..., Server]) -> None:
    """CORRAL_UI_TOOL_ORIGINS is all that opens the policy, and only for requests."""
    server = start_server(CORRAL_UI_TOOL_ORIGINS="https://tools.lan:8443, http://[fd00::1]")
    policy = ask(server, "/ui/")[1]["content-security-policy"]
    opened = "connect-src 'self' https://tools.lan:8443 http://[fd00::1];"
    assert policy == POLICY.replace("connect-src 'self';", opened)


@pytest.mark.parametrize(
    "origin",
    [
        "tools.lan",
        "https://*",
        "https://a.b/path",
        "https://a;script-src *",
        "ftp://a",
        "https://a 'unsafe-eval'",
    ],
)
def test_what_is_not_an_origin(origin: str) -> None:
    """It would open the policy further, or in another place."""
    with pytest.raises(CorralError, match="is not an origin"):
        Settings.from_env({"CORRAL_UI_TOOL_ORIGINS": origin})


def test_address_in_the_log(server: Server) -> None:
    """Whoever starts the server sees where the page is."""
    assert any(f"web page address=http://127.0.0.1:{server.port}/ui/" in line for line in server.log)


def test_page_needs_no_key(start_server: Callable[..., Server]) -> None:
    """The page is static and public; what it shows is not."""
    server = start_server(CORRAL_AUTH="on")
    assert ask(server, "/ui/")[0] == 200
    assert ask(server, "/api/tags")[0] == 401


def test_page_is_not_an_api(server: Server) -> None:
    """The description of the APIs does not have it."""
    assert not [path for path in server.get("/openapi.json")["paths"] if path.startswith("/ui")]
