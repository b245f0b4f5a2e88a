"""The reply to a request of a transfer: its body read in pieces and with bounds, its failures as Corral's errors."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import urllib3

from corral.errors import RegistryError, RegistryProtocolError
from corral.registry.compat_urllib3 import DirectBody

_BLOCK_BYTES = 256 << 10
_MAX_ERROR_BYTES = 64 << 10
_MAX_LOGGED_CHARS = 300
_log = logging.getLogger("corral.registry")


class Line(Protocol):
    """What a reply needs of the transport that it came over."""

    def explain(self, exc: Exception, method: str, url: str) -> RegistryError: ...
    def is_private(self, url: str) -> bool: ...
    def deadline(self, seconds: float | None = None) -> contextlib.AbstractContextManager[None]: ...


def _is_registry_error(text: str) -> bool:
    """Whether it is an error as in the distribution specification, or Go's answer to http on a TLS port."""
    if text == "Client sent an HTTP request to an HTTPS server.":
        return True
    try:
        errors = json.loads(text)["errors"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(errors, list) and all(isinstance(entry, dict) and "code" in entry for entry in errors)


def redacted(url: str) -> str:
    """A URL for logs and messages: without user, password and query, which may hold signatures."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


class Response:
    """A reply whose body has not been read. Close it, or read it to its end: then its connection is reused."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, method: str, url: str, transport: Line) -> None:
        self._raw = raw
        self._transport = transport
        self._method = method
        self.url = url
        self.status = raw.status
        self._direct = DirectBody.find(raw)

    def header(self, name: str) -> str | None:
        return self._raw.headers.get(name)

    def headers_all(self, name: str) -> list[str]:
        """Every value of a header that may come more than once."""
        return list(self._raw.headers.getlist(name))

    def read1(self, size: int) -> bytes:
        """The next bytes of the body as they arrive, at most `size`; none at its end.

        Raises:
            RegistryUnavailableError: the connection broke, or the body ended before its length.
            TransferCancelledError
        """
        try:
            return self._raw.read1(size, decode_content=False)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as exc:
            raise self._transport.explain(exc, self._method, self.url) from exc

    def read_into(self, view: memoryview) -> int:
        """Like `read1`, into existing memory. Returns the number of bytes, 0 at the end of the body.

        Raises:
            RegistryUnavailableError, TransferCancelledError
        """
        if self._direct is None:
            data = self.read1(len(view))
            view[: len(data)] = data
            return len(data)
        try:
            return self._direct.read1_into(view)
        except (http.client.HTTPException, OSError, ValueError) as exc:
            raise self._transport.explain(exc, self._method, self.url) from exc

    def read_bounded(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            RegistryProtocolError: it is longer, or compressed, which was not asked for.
            RegistryUnavailableError, TransferCancelledError: as `read1`.
        """
        self.check_plain()
        parts: list[bytes] = []
        size = 0
        with self._transport.deadline():
            while part := self.read1(_BLOCK_BYTES):
                parts.append(part)
                size += len(part)
                if size > limit_bytes:
                    self.close()
                    raise RegistryProtocolError(
                        f"the reply of {redacted(self.url)} is longer than {limit_bytes} bytes"
                    )
        self.finish()
        return b"".join(parts)

    def read_error(self) -> str:
        """The beginning of an error's body as text; never raises. The connection is closed if the body is long.

        The answer of a host in a private network is returned only if it is a registry's error: clients that may name
        hosts must not read the answers of other services there. The log has it.
        """
        data = b""
        with contextlib.suppress(RegistryError), self._transport.deadline():
            while len(data) < _MAX_ERROR_BYTES and (part := self.read1(_MAX_ERROR_BYTES - len(data))):
                data += part
        self.close() if len(data) >= _MAX_ERROR_BYTES else self.finish()
        text = data.decode("utf-8", "replace").strip()
        if self._transport.is_private(self.url) and not _is_registry_error(text):
            _log.info("url=%s status=%d answer=%r", redacted(self.url), self.status, text[:_MAX_LOGGED_CHARS])
            return ""
        return text

    def check_plain(self) -> None:
        """Raises RegistryProtocolError if the body is compressed, which was not asked for."""
        if (self.header("content-encoding") or "identity").lower() != "identity":
            self.close()
            raise RegistryProtocolError(
                f"the reply of {redacted(self.url)} is compressed, which was not asked for"
            )

    def finish(self) -> None:
        """Give the connection back for reuse, if the body was read to its end."""
        self._raw.release_conn()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._raw.close()
