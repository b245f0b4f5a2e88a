"""A small blocking client of the HTTP API on the standard library, because start-up time is felt at every command.

It speaks to Corral and to Ollama alike. Short calls over plain HTTP go through short_http.py; streams, uploads, TLS
and proxies use `http.client`, which is imported when first needed.
"""

from __future__ import annotations

import json
import os

from corral import __version__
from corral.cli.frame.flags import PROGRAM
from corral.cli.http import short_http
from corral.errors import CorralError
from corral.hostaddress import HostAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable, Generator, Iterator
    from typing import Any, BinaryIO

    from corral.cli.http.proxy import Proxy

_LOST = "the connection to the server was lost before the response was complete"
_READ_BYTES = 1 << 16


class APIError(Exception):
    """An error response. The text is the message, `hint` says what to do (may be empty), `signin_url` is where to
    sign in if an account is required."""

    def __init__(self, text: str, status: int = 0, signin_url: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint
        self.status = status
        self.signin_url = signin_url


class NoServerError(Exception):
    """No server answers. The text is empty if the connection was refused; then `hint` names the address."""

    def __init__(self, text: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def no_server_text() -> str:
    return f"could not connect to {PROGRAM} server, run '{PROGRAM} serve' to start it"


class Client:
    """One server. Every call opens its own connection.

    `timeout_s`: how long the server may say nothing; None, because models are slow.
    """

    def __init__(self, address: HostAddress) -> None:
        self.address = address
        self.timeout_s: float | None = None
        self._prefix = "" if address.is_unix else address.path.rstrip("/")
        self._is_plain = address.scheme != "https" and (address.is_loopback or not _proxy_of(address))
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._headers = {
            "Host": "localhost" if address.is_unix else f"{host}:{address.port}",
            "User-Agent": f"corral-cli/{__version__}",
        }
        if key := (os.environ.get("CORRAL_API_KEY", "") or os.environ.get("OLLAMA_API_KEY", "")).strip():
            if not (key.isascii() and key.isprintable()):
                raise CorralError(
                    "CORRAL_API_KEY has characters that no API key has", hint="copy the key again"
                )
            self._headers["Authorization"] = f"Bearer {key}"

    def check(self) -> None:
        """Raise NoServerError unless a server answers."""
        self._ask("HEAD", "/", None)

    def call(self, method: str, path: str, body: Any = None, *, accept: str = "*/*") -> Any:
        """Send JSON, return the decoded response (None if it has no body).

        Raises:
            APIError, NoServerError
        """
        answer = self._ask(method, path, _encode(body), accept)
        if answer.status >= 300:
            raise self._error(answer, is_stream=False)
        if not answer.body:
            return None
        try:
            return json.loads(answer.body)
        except ValueError:
            raise APIError(f"the response of {self.address.url()}{path} is not JSON") from None

    def text(self, path: str) -> str:
        """GET a text.

        Raises:
            APIError, NoServerError
        """
        answer = self._ask("GET", path, None)
        if answer.status >= 300:
            raise self._error(answer, is_stream=False)
        return answer.body.decode("utf-8", "replace")

    def stream(self, path: str, body: Any) -> Generator[dict[str, Any], None, None]:
        """Send JSON, yield the objects of the response as they arrive; closing the iterator cancels the request.

        Raises:
            APIError: also for an error record inside the stream, and when it breaks off.
            NoServerError
        """
        from http.client import HTTPException

        headers = {"Accept": "*/*", "Content-Type": "application/json"}
        connection, response = self._send("POST", path, _encode(body), headers)
        try:
            if response.status >= 300:
                raise self._error(_whole(response), is_stream=True)
            for line in _lines(response):
                event = json.loads(line)
                if not isinstance(event, dict):
                    raise ValueError(event)
                if "error" in event:
                    raise _error_of(event)
                yield event
        except (OSError, HTTPException):
            raise APIError(_LOST) from None
        except ValueError:
            raise APIError(f"the response of {self.address.url()}{path} is not JSON") from None
        finally:
            # Both: the response holds the socket too, and only a closed socket stops the server's work.
            response.close()
            connection.close()

    def follow(self, path: str) -> Generator[dict[str, Any], None, None]:
        """GET server-sent events and yield their JSON objects; closing the iterator ends the connection.

        Raises:
            APIError: also when the stream ends.
            NoServerError
        """
        from http.client import HTTPException

        connection, response = self._send("GET", path, None, {"Accept": "text/event-stream"})
        try:
            if response.status >= 300:
                raise self._error(_whole(response), is_stream=False)
            for line in _lines(response):
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, HTTPException, ValueError):
            raise APIError(_LOST) from None
        finally:
            response.close()
            connection.close()

    def has_blob(self, digest: str) -> bool:
        return self._ask("HEAD", f"/api/blobs/{digest}", None).status == 200

    def upload(self, digest: str, file: BinaryIO, size_bytes: int) -> None:
        """Send a file as a blob.

        Raises:
            APIError, NoServerError
        """
        headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
        connection, response = self._send("POST", f"/api/blobs/{digest}", file, headers)
        try:
            answer = _whole(response)
        finally:
            connection.close()
        if answer.status >= 300:
            raise self._error(answer, is_stream=False)

    def _ask(self, method: str, path: str, body: bytes | None, accept: str = "*/*") -> short_http.Response:
        """One complete response, whatever its status."""
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if not self._is_plain:
            connection, response = self._send(method, path, body, headers)
            try:
                return _whole(response)
            finally:
                connection.close()
        host, port = self.address.host, self.address.port
        if self.address.is_unix:
            host = self.address.path
        try:
            return short_http.exchange(
                host, port, method, self._prefix + path, body, {**self._headers, **headers}, self.timeout_s
            )
        except ConnectionRefusedError as exc:
            raise self._refused() from exc
        except OSError as exc:
            raise self._unreachable(exc) from exc

    def _send(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        from http.client import HTTPException

        connection = self._connection()
        target = self._prefix + path
        if self.address.scheme != "https" and (proxy := self._proxy()):
            target = f"http://{self._headers['Host']}{target}"  # proxies need the full URL
            headers = {**headers, **proxy.headers}
        try:
            connection.connect()
            short_http.prepare_socket(connection.sock)
            connection.sock.settimeout(self.timeout_s)
            connection.request(method, target, body, {**self._headers, **headers})
            return connection, connection.getresponse()
        except ConnectionRefusedError as exc:
            connection.close()
            raise self._refused() from exc
        except (OSError, HTTPException) as exc:
            connection.close()
            raise self._unreachable(exc) from exc

    def _connection(self) -> http.client.HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        address = self.address
        if address.is_unix:
            from corral.cli.http.secure import UnixConnection

            return UnixConnection(address.path, timeout=short_http.CONNECT_TIMEOUT_S)
        is_tls = address.scheme == "https"
        kind: Callable[..., HTTPConnection] = HTTPConnection
        if is_tls:
            from corral.cli.http.secure import tls_context

            context = tls_context()

            def kind(host: str, port: int, timeout: float) -> HTTPConnection:
                return HTTPSConnection(host, port, timeout=timeout, context=context)

        proxy = self._proxy()
        if proxy is None:
            return kind(address.host, address.port, timeout=short_http.CONNECT_TIMEOUT_S)
        connection = kind(proxy.host, proxy.port, timeout=short_http.CONNECT_TIMEOUT_S)
        if is_tls:
            connection.set_tunnel(address.host, address.port, proxy.headers)
        return connection

    def _proxy(self) -> Proxy | None:
        text = "" if self.address.is_loopback else _proxy_of(self.address)
        if not text:
            return None
        from corral.cli.http.proxy import read_proxy

        try:
            return read_proxy(text)
        except ValueError as exc:
            raise NoServerError(str(exc), hint="name the server in no_proxy to reach it directly") from None

    def _refused(self) -> NoServerError:
        source = " (from OLLAMA_HOST)" if os.environ.get("OLLAMA_HOST") else ""
        return NoServerError(hint=f"nothing is listening at {self.address.url()}{source}")

    def _unreachable(self, error: Exception) -> NoServerError:
        if self.address.is_unix and isinstance(error, FileNotFoundError):
            return self._refused()
        reason = str(getattr(error, "strerror", "") or error or type(error).__name__)
        if verdict := getattr(error, "verify_message", ""):
            return NoServerError(
                f"{self.address.url()} is not trusted: {verdict}",
                hint="CORRAL_CA_FILE names a file with the certificate that is to be trusted",
            )
        return NoServerError(
            f"could not connect to {PROGRAM} server at {self.address.url()}: {reason.lower()}"
        )

    def _error(self, answer: short_http.Response, *, is_stream: bool) -> APIError:
        """The error of a response; that of a stream has the status in its text (ollama: api/client.go)."""
        status = f"{answer.status} {answer.reason}".strip()
        if answer.status < 400:
            location = answer.headers.get("location", "")
            return APIError(
                f"{self.address.url()} redirects to {location}: set OLLAMA_HOST to it", answer.status
            )
        try:
            error = _error_of(json.loads(answer.body))
        except (ValueError, KeyError, TypeError, AttributeError):
            error = APIError(answer.body.decode("utf-8", "replace").strip())
        text = f"{status}: {error}" if is_stream else str(error) or status
        return APIError(text, answer.status, error.signin_url, error.hint)


def _error_of(fields: dict[str, Any]) -> APIError:
    """The error that an error object stands for."""
    signin_url, hint = (str(fields.get(name, "")) for name in ("signin_url", "hint"))
    return APIError(str(fields["error"]), signin_url=signin_url, hint=hint)


def _proxy_of(address: HostAddress) -> str:
    """The proxy that the environment sets for an address on another machine; empty if none."""
    name = f"{'https' if address.scheme == 'https' else 'http'}_proxy"
    if not (os.environ.get(name) or os.environ.get(name.upper())):
        return ""
    from corral.cli.http.proxy import proxy_of

    return proxy_of(address)


def _encode(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _whole(response: http.client.HTTPResponse) -> short_http.Response:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return short_http.Response(response.status, response.reason, headers, response.read())


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines as they arrive, without empty ones."""
    rest = b""
    while data := response.read1(_READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if response.length:
        raise ConnectionError(_LOST)
    if rest.strip():
        yield rest
