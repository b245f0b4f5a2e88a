"""The page's own requests are served under every name that the server goes by; those of other pages are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from corral.access.addresses import Proxies
from tests.conftest import Server

BODY = {"model": "nothing", "messages": []}
# The model does not exist: the request got as far as that.
SERVED, REFUSED = 404, 403


@pytest.fixture(scope="module")
def proxied(process: None) -> Iterator[Server]:
    """A server on loopback behind a proxy that is trusted, as docs/security.md sets it up."""
    server = Server(CORRAL_TRUSTED_PROXIES="127.0.0.1")
    yield server
    server.close()


def status(server: Server, headers: dict[str, str]) -> int:
    return server.request("POST", "/api/chat", BODY, headers)[0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "localhost:1234", "Origin": "http://localhost:1234"}, SERVED),
        # TLS ends at the proxy, and Host is rewritten: the browser says that the page is the proxy's own.
        ({"Host": "localhost", "Origin": "https://ai.example.com", "Sec-Fetch-Site": "same-origin"}, SERVED),
        ({"Host": "localhost", "Origin": "https://ai.example.com", "Sec-Fetch-Site": "same-site"}, REFUSED),
        ({"Host": "localhost", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, REFUSED),
        ({"Host": "localhost", "Origin": "https://evil.example"}, REFUSED),
        # Without TLS a name can be made to point anywhere.
        ({"Host": "localhost", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, REFUSED),
        # The trusted proxy says which name the browser used.
        (
            {
                "Host": "localhost",
                "Origin": "https://ai.example.com",
                "X-Forwarded-Host": "ai.example.com",
                "X-Forwarded-Proto": "https",
            },
            SERVED,
        ),
        ({"Host": "localhost", "Origin": "http://box.lan", "X-Forwarded-Host": "box.lan"}, SERVED),
        ({"Host": "localhost", "Origin": "http://box.lan:8080", "X-Forwarded-Host": "box.lan:8080"}, SERVED),
        ({"Host": "localhost", "Origin": "http://other.lan", "X-Forwarded-Host": "box.lan"}, REFUSED),
        ({"Host": "localhost", "Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}, REFUSED),
    ],
)
def test_behind_a_proxy(proxied: Server, headers: dict[str, str], expected: int) -> None:
    """With the Host that the proxy sends, the page still works, and other pages still do not."""
    assert status(proxied, headers) == expected


def test_nobody_else_is_believed(server: Server) -> None:
    """X-Forwarded-Host counts from trusted proxies alone."""
    headers = {"Host": "localhost", "Origin": "http://box.lan", "X-Forwarded-Host": "box.lan"}
    assert status(server, headers) == REFUSED


@pytest.mark.parametrize(
    "host", ["192.168.1.5:11434", "[fd00::5]:11434", "box", "box.local", "box.lan:11434"]
)
def test_on_a_network(start_server: Callable[..., Server], host: str) -> None:
    """Open to a network: under its addresses and its names there."""
    server = start_server(OLLAMA_HOST="0.0.0.0:0")
    mine = host.replace("11434", str(server.port))
    assert status(server, {"Host": mine, "Origin": f"http://{mine}"}) == SERVED
    assert status(server, {"Host": mine, "Origin": "http://evil.example"}) == REFUSED


def test_the_name_that_a_proxy_says() -> None:
    """The last one counts: it is what the nearest proxy wrote."""
    proxies = Proxies(["10.0.0.1"])
    headers = [(b"x-forwarded-host", b"Evil.example, AI.example.com")]
    assert proxies.client("10.0.0.1", headers).host == "ai.example.com"
    assert proxies.client("10.0.0.2", headers).host == ""
