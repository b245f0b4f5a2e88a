"""Who is refused and told why, which pages may be foreign in disguise, and what the server says it is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable

import pytest

from corral import API_VERSION, __version__
from corral.api.http.origins import HostGuard
from tests.conftest import Server


def ask(
    server: Server, path: str = "/api/version", method: str = "GET", **headers: str
) -> tuple[int, bytes, str]:
    """Status, body and Server header, with no headers but these."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.getheader("Server", "")
    connection.close()
    return found


def test_versions(server: Server) -> None:
    """Clients compare `version` with what they need of Ollama."""
    status, body, name = ask(server)
    assert (status, json.loads(body)) == (200, {"version": API_VERSION, "corral_version": __version__})
    assert name == f"corral/{__version__}"
    assert tuple(map(int, API_VERSION.split("."))) >= (0, 13, 4)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_a_refused_host_is_told_why(server: Server, method: str) -> None:
    before = len(server.log)
    status, body, _ = ask(server, "/api/tags", method, Host="evil.example")
    assert status == 403
    assert "host 'evil.example' is not allowed" in json.loads(body)["error"]
    while not any("refused=host 'evil.example' is not allowed" in line for line in server.log[before:]):
        pass


def test_a_refused_origin_is_told_why(server: Server) -> None:
    before = len(server.log)
    status, body, _ = ask(server, Origin="https://evil.example")
    assert status == 403
    text = json.loads(body)["error"]
    assert "origin 'https://evil.example' is not allowed" in text and "OLLAMA_ORIGINS" in text
    while not any("refused=origin 'https://evil.example'" in line for line in server.log[before:]):
        pass


def test_names_in_reasons_are_cut(server: Server) -> None:
    assert len(ask(server, Host="x" * 5000)[1]) < 500


@pytest.mark.parametrize(
    ("host", "is_foreign"),
    [
        ("evil.example:11434", True),
        ("EVIL.example:11434", True),
        ("evil.example:8443", True),
        ("evil.example", False),  # on port 80 a proxy may have pages
        ("evil.example:8080", False),
        ("192.168.1.5:11434", False),
        ("[fd00::1]:11434", False),
        ("localhost:11434", False),
        ("mybox:11434", False),
        ("mybox.local:11434", False),
        ("mybox.lan:11434", False),
        ("mybox.home.arpa:11434", False),
        ("host.docker.internal:11434", False),
        ("", False),
    ],
)
def test_pages_on_our_own_port(host: str, is_foreign: bool) -> None:
    """A name that a stranger can register may have been made to point here; addresses and local names cannot."""
    assert HostGuard(is_loopback=False, ports=(8443, 11434)).may_be_rebound(host) is is_foreign
    assert HostGuard(is_loopback=True, ports=(8443, 11434)).may_be_rebound(host) is False


def test_a_public_server_serves_names_but_no_rebound_pages(start_server: Callable[..., Server]) -> None:
    server = start_server(OLLAMA_HOST="0.0.0.0:0")
    name = f"evil.example:{server.port}"
    assert ask(server, Host=name)[0] == 200
    assert ask(server, Host=name, Origin=f"http://{name}")[0] == 403
    assert (
        ask(server, Host=f"192.168.7.7:{server.port}", Origin=f"http://192.168.7.7:{server.port}")[0] == 200
    )
    assert ask(server, Host="ui.example.com", Origin="https://ui.example.com")[0] == 200


def test_a_rebound_name_that_is_meant_is_allowed(start_server: Callable[..., Server]) -> None:
    server = start_server(OLLAMA_HOST="0.0.0.0:0", OLLAMA_ORIGINS="http://models.example.com:*")
    name = f"models.example.com:{server.port}"
    assert ask(server, Host=name, Origin=f"http://{name}")[0] == 200
