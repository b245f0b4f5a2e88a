"""A small blocking client of the HTTP API on the standard library, because start-up time is felt at every command."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["APIError", "Client", "NoServerError"]

_CONNECT_TIMEOUT_S = 10.0


class APIError(Exception):
    """An error answer. The text is what the person reads."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class NoServerError(Exception):
    """Nobody listens at the address."""


class Client:
    """One server. Every call opens its own connection; there is no time limit on answers, models are slow."""

    def __init__(self, host: str, port: int, path_prefix: str = "") -> None:
        self._host = host
        self._port = port
        self._prefix = path_prefix.rstrip("/")

    def check(self) -> None:
        """Raise NoServerError unless somebody answers."""
        connection = self._connect()
        try:
            connection.request("HEAD", self._prefix + "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException) as exc:
            raise NoServerError from exc
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON, return the decoded answer (None if it has no body).

        Raises:
            APIError, NoServerError
        """
        response, connection = self._send(method, path, _encode(body))
        try:
            data = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise APIError(_error_text(data) or f"{response.status} {response.reason}", response.status)
        return json.loads(data) if data else None

    def stream(self, path: str, body: Any) -> Iterator[dict[str, Any]]:
        """Send JSON, yield the objects of the answer as they come; closing the iterator cancels the request.

        Raises:
            APIError: also for an error record inside the stream.
        """
        response, connection = self._send("POST", path, _encode(body))
        try:
            if response.status >= 400:
                text = _error_text(response.read())
                raise APIError(f"{response.status} {response.reason}: {text}", response.status)
            for line in response:
                if not line.strip():
                    continue
                event = json.loads(line)
                if "error" in event:
                    raise APIError(event["error"])
                yield event
        finally:
            _close_now(connection)

    def has_blob(self, digest: str) -> bool:
        response, connection = self._send("HEAD", f"/api/blobs/{digest}", None)
        response.read()
        connection.close()
        return response.status == 200

    def upload(self, digest: str, file: BinaryIO, size_bytes: int) -> None:
        """Send a file as a blob.

        Raises:
            APIError, NoServerError
        """
        headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
        response, connection = self._send("POST", f"/api/blobs/{digest}", file, headers)
        data = response.read()
        connection.close()
        if response.status >= 400:
            raise APIError(_error_text(data), response.status)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_TIMEOUT_S)

    def _send(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        connection = self._connect()
        try:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(None)
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            all_headers = {"User-Agent": "corral-cli", **(headers or {})}
            connection.request(method, self._prefix + path, body, all_headers)
            return connection.getresponse(), connection
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise NoServerError from exc


def _encode(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _close_now(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        connection.sock.close()
    connection.close()


def _error_text(data: bytes) -> str:
    try:
        error = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip()
    return str(error)
