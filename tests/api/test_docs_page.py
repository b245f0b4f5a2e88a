"""The page at `/docs`: guarded like every route, complete without other servers, with nothing inline."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

import corral.assets
from tests.conftest import Server

FILES = Path(corral.assets.__file__).parent / "docs"
PATHS = ("/docs", "/docs/docs.css", "/docs/docs.js")


@pytest.mark.parametrize("path", PATHS)
def test_only_reading(server: Server, path: str) -> None:
    url = server.base + path
    got, head = requests.get(url, allow_redirects=False), requests.head(url)
    assert got.status_code == head.status_code == 200
    assert head.headers["content-length"] == str(len(got.content))
    assert not head.content
    refused = requests.post(url, allow_redirects=False)
    assert (refused.status_code, refused.text) == (405, "405 method not allowed")
    assert refused.headers["allow"] == "HEAD, GET"


@pytest.mark.parametrize("path", PATHS)
def test_headers_that_fence_it(server: Server, path: str) -> None:
    """Scripts, styles and connections of this server alone; no frames around it."""
    headers = requests.get(server.base + path, allow_redirects=False).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_foreign_hosts_and_origins(server: Server, headers: dict[str, str]) -> None:
    for path in PATHS:
        assert requests.get(server.base + path, headers=headers, allow_redirects=False).status_code == 403


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed((FILES / "index.html").read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_nothing_inline_and_nothing_from_elsewhere(server: Server) -> None:
    for tag, attributes in _Tags().tags:
        assert tag != "style"
        assert tag != "script" or attributes["src"], "an inline script"
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ("src", "href") and value != "data:,":
                got = requests.get(f"{server.base}/{value}", allow_redirects=False)
                assert got.status_code == 200, value


def test_the_script_writes_text_only() -> None:
    """Names of models and answers come from others, so they must not become HTML or code."""
    script = (FILES / "docs.js").read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|srcdoc|https?://", script
    )
