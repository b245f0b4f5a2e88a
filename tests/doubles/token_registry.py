"""A registry with token authentication as Ollama's has it: its token service lives on the registry's own address.

The service stands in front of a real registry server. It checks what a client of that scheme sends: an ed25519
signature over `GET,<url>,<hash of nothing>`, a fresh time, a nonce that was not used before. It knows keys (signed
requests) and users (basic authentication), and which actions each may do. Everything else is passed on to the real
registry, which verifies the tokens itself. It keeps a log of requests, with their credentials, for tests to look
at.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_ssh_public_key,
)

from tests.doubles.certificates import TestCertificate
from tests.doubles.real_registry import RealRegistry

__all__ = ["Seen", "TokenRegistry"]

_EMPTY = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
_HOP_HEADERS = ("transfer-encoding", "connection", "content-length", "host")


class Seen:
    """A request: method, path with query, and its `Authorization` header."""

    def __init__(self, method: str, path: str, authorization: str) -> None:
        self.method = method
        self.path = path
        self.authorization = authorization


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenRegistry:
    """Starts at once. `may` maps a public key's base64 or a user name to actions it may do, as in `pull,push`."""

    def __init__(
        self, folder: Path, *, is_tls: bool = False, realm: str = "", token_life_s: int = 60
    ) -> None:
        self.may: dict[str, str] = {}
        self.passwords: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.token_life_s = token_life_s
        self._nonces: set[str] = set()
        self._certificate = TestCertificate(folder)
        self.certificate_path = self._certificate.path
        handler = type("_Handler", (_Handler,), {"double": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.host = f"127.0.0.1:{self._http.server_port}"
        scheme = "https" if is_tls else "http"
        self.base = f"{scheme}://{self.host}"
        if is_tls:
            context = self._certificate.server_context()
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.realm = realm or f"{self.base}/token"
        self.registry = RealRegistry(token_realm=self.realm, certificate=self.certificate_path)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)
        self.registry.close()

    def token(self, access: list[dict[str, Any]]) -> str:
        """A token that the real registry accepts: signed with the key whose certificate it knows."""
        now_s = int(time.time())
        claims = {
            "iss": "test",
            "sub": "",
            "aud": "test",
            "exp": now_s + self.token_life_s,
            "nbf": now_s - 60,
            "iat": now_s,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        der = base64.b64encode(self._certificate.certificate.public_bytes(Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        text = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._certificate.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def admin(self, repository: str) -> dict[str, Any]:
        """Options of `requests` with which a test may do anything in a repository."""
        access = [{"type": "repository", "name": repository, "actions": ["pull", "push"]}]
        return {"headers": {"Authorization": f"Bearer {self.token(access)}"}}

    def who(self, path: str, authorization: str) -> str | None:
        """The key or user that a token request proves; an empty text for nobody, None for a wrong proof."""
        if not authorization:
            return ""
        if authorization.startswith("Basic "):
            user, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
            return user if self.passwords.get(user) == password else None
        public, _, signature = authorization.partition(":")
        query = parse_qs(urlsplit(path).query)
        nonce, when = query.get("nonce", [""])[0], int(query.get("ts", ["0"])[0])
        if len(nonce) != 22 or nonce in self._nonces or abs(time.time() - when) > 60:
            return None
        self._nonces.add(nonce)
        try:
            key: Any = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
            key.verify(base64.b64decode(signature), f"GET,{self.base}{path},{_EMPTY}".encode())
        except (InvalidSignature, ValueError):
            return None
        return public


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: TokenRegistry

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        authorization = self.headers.get("authorization") or ""
        self.double.seen.append(Seen(self.command, self.path, authorization))
        if urlsplit(self.path).path == "/token":
            self._token(authorization)
        else:
            self._pass_on(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve

    def _token(self, authorization: str) -> None:
        who = self.double.who(self.path, authorization)
        if who is None:
            self._answer(401, b"who are you?")
            return
        query = parse_qs(urlsplit(self.path).query)
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            allowed = [
                action for action in actions.split(",") if action in self.double.may.get(who, "").split(",")
            ]
            access.append({"type": kind, "name": name, "actions": allowed})
        self._answer(200, json.dumps({"token": self.double.token(access)}).encode())

    def _pass_on(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.double.registry.host, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_HEADERS}
        headers["Host"] = self.double.host
        headers["X-Forwarded-Proto"] = urlsplit(self.double.base).scheme
        connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        response = connection.getresponse()
        data = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_HEADERS:
                self.send_header(name, value)
        size = response.getheader("content-length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", size or "0")
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
