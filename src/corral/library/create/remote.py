"""Normalised addresses of the servers of remote models. Ollama: server/create.go, bad remote."""

from __future__ import annotations

import posixpath
from urllib.parse import urlsplit

from corral.errors import InvalidRequestError


def normalize_remote(text: str) -> str:
    """A full URL with scheme, host and port.

    Raises:
        InvalidRequestError: it is not a valid address.
    """
    if text.startswith("/"):
        return "http://localhost:11434" + posixpath.normpath(text)
    if "://" not in text:
        text = f"http://{text}"
    if text == "http://ollama.com":
        return "https://ollama.com:443"
    try:
        url = urlsplit(text)
        port = url.port or 11434
    except ValueError:
        raise InvalidRequestError("bad remote") from None
    host = url.hostname or "localhost"
    if any(char.isspace() or ord(char) < 32 for char in text):
        raise InvalidRequestError("bad remote")
    if ":" in host:
        host = f"[{host}]"
    path = posixpath.normpath(url.path) if url.path else ""
    path = "" if path in ("/", ".") else path
    return f"{url.scheme}://{host}:{port}{path}" + (f"?{url.query}" if url.query else "")
