"""Connections other than plain TCP: TLS with the certificates of the environment, and unix sockets."""

from __future__ import annotations

import os
import socket
import ssl
from http.client import HTTPConnection
from pathlib import Path

from corral.errors import CorralError


def tls_context() -> ssl.SSLContext:
    """What a client trusts: the system (or SSL_CERT_FILE) and CORRAL_CA_FILE. CORRAL_CLIENT_CERT is what it shows.

    Raises:
        CorralError: a file cannot be used.
    """
    context = ssl.create_default_context()
    if authorities := os.environ.get("CORRAL_CA_FILE", "").strip():
        try:
            context.load_verify_locations(Path(authorities).expanduser())
        except OSError as exc:
            raise _unusable("CORRAL_CA_FILE", authorities, exc) from exc
    if cert := os.environ.get("CORRAL_CLIENT_CERT", "").strip():
        key = os.environ.get("CORRAL_CLIENT_KEY", "").strip() or cert
        try:
            context.load_cert_chain(Path(cert).expanduser(), Path(key).expanduser())
        except OSError as exc:
            raise _unusable("CORRAL_CLIENT_CERT", cert, exc) from exc
    return context


def _unusable(name: str, path: str, error: OSError) -> CorralError:
    is_pem = isinstance(error, ssl.SSLError)
    reason = "not a valid PEM file" if is_pem else (error.strerror or str(error)).lower()
    return CorralError(f"{name}={path}: {reason}", hint=f"correct {name}")


class UnixConnection(HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
