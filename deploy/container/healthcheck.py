"""Ends with 0 if /readyz of the server in this container says yes, at the first address of OLLAMA_HOST."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

_TIMEOUT_S = 4


class _Socket(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self.path)

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self.path = path


def connection(host: str) -> http.client.HTTPConnection:
    """A connection to where a server with this OLLAMA_HOST listens."""
    if host.startswith("unix://"):
        return _Socket(host.removeprefix("unix://"))
    parts = urlsplit(host if "://" in host else f"//{host}")
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        parts.hostname or "", parts.hostname or ""
    )
    default = {"http": 80, "https": 443}.get(parts.scheme, 11434)
    if parts.scheme == "https" or os.environ.get("CORRAL_TLS_CERT"):
        # The certificate is for the name that clients use, not for this address; nothing secret is sent.
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection(name, parts.port or default, timeout=_TIMEOUT_S, context=context)
    return http.client.HTTPConnection(name, parts.port or default, timeout=_TIMEOUT_S)


def main() -> int:
    try:
        with contextlib.closing(connection(os.environ.get("OLLAMA_HOST", "127.0.0.1:11434"))) as asked:
            asked.request("GET", "/readyz")
            answer = asked.getresponse()
            said = answer.read(10_000)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        print(f"no answer: {exc}")
        return 1
    reasons = [reason.get("message") for reason in json.loads(said).get("reasons", [])] if said else []
    print(f"{answer.status} {', '.join(map(str, reasons))}".strip())
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
