"""The account behind the key, against a double of the service that checks signatures."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from tests.conftest import Server

StartServer = Callable[..., Server]


class Service(HTTPServer):
    """Knows one key, or none."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known_key = ""
        self.profile: Any = {"id": "1", "email": "a@b", "name": "ada", "plan": "", "bio": "counts"}


class Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        self.answer(self.server.profile)

    def do_DELETE(self) -> None:
        line = base64.urlsafe_b64decode(self.path.partition("?")[0].rpartition("/")[2] + "==").decode()
        self.answer(None)
        if line.split()[1] == self.server.known_key:
            self.server.known_key = ""

    def answer(self, value: Any) -> None:
        public, _, signature = self.headers["Authorization"].partition(":")
        key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
        assert isinstance(key, Ed25519PublicKey)
        try:
            key.verify(base64.b64decode(signature), f"{self.command},{self.path}".encode())
            status = 200 if public == self.server.known_key else 401
        except InvalidSignature:
            status = 400
        body = json.dumps(value if status == 200 else {"error": "no"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield service
    service.shutdown()
    thread.join()
    service.server_close()


def test_signing_in_and_out(service: Service, start_server: StartServer) -> None:
    """Unknown keys are told where to connect; a known one is somebody, until it leaves."""
    base = f"http://127.0.0.1:{service.server_address[1]}"
    server = start_server(OLLAMA_CLOUD_BASE_URL=base)
    status, data = server.request("POST", "/api/me", b"{not json")
    answer = json.loads(data)
    assert (status, answer["error"]) == (401, "unauthorized")
    assert answer["signin_url"].startswith(f"{base}/connect?name=")
    encoded = answer["signin_url"].rpartition("&key=")[2]
    line = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    assert line == (server.folder / ".ollama" / "id_ed25519.pub").read_text().strip()
    assert server.request("POST", "/api/signout")[0] == 401
    service.known_key = line.split()[1]
    me = server.post("/api/me", {})
    assert me == {"id": "1", "email": "a@b", "name": "ada", "bio": "counts", "plan": "free"}
    assert server.request("POST", "/api/signout") == (200, b"null")
    assert server.request("POST", "/api/me")[0] == 401


@pytest.mark.parametrize("profile", [[], "text", {"name": None}, 5])
def test_a_service_that_answers_nonsense(
    service: Service, start_server: StartServer, profile: object
) -> None:
    """Whatever it says, the answer is an account or that there is none to be had."""
    server = start_server(OLLAMA_CLOUD_BASE_URL=f"http://127.0.0.1:{service.server_address[1]}")
    assert server.request("POST", "/api/me")[0] == 401  # now the key is made
    service.known_key = (server.folder / ".ollama" / "id_ed25519.pub").read_text().split()[1]
    service.profile = profile
    assert server.request("POST", "/api/me")[0] in (200, 503)


def test_without_the_service(start_server: StartServer) -> None:
    """Nobody there, or nobody to be asked."""
    unavailable = (503, b'{"error":"account unavailable"}')
    assert start_server(OLLAMA_CLOUD_BASE_URL="http://127.0.0.1:9").request("POST", "/api/me") == unavailable
    assert start_server(CORRAL_OFFLINE="1").request("POST", "/api/signout") == unavailable


def test_signing_out_without_the_service(start_server: StartServer) -> None:
    """It did not happen, and that is what is said."""
    answer = start_server(OLLAMA_CLOUD_BASE_URL="http://127.0.0.1:9").request("POST", "/api/signout")
    assert answer == (500, b'{"error":"there was an error signing out"}')
