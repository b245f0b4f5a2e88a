"""Blocking HTTP for transfers, on urllib3: addresses are checked, replies bounded, and any call can be interrupted.

Threads make the calls, each at most one at a time. Another thread may interrupt a call by shutting its socket down,
so that a blocked read ends at once: that is how cancellation, deadlines and the stall watchdog work. Nothing is
retried or redirected here.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import platform
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from corral import __version__, tracenotes
from corral.errors import (
    CorralError,
    RegistryError,
    RegistryProtocolError,
    RegistryUnavailableError,
    TransferCancelledError,
)
from corral.registry import socks
from corral.registry.address_filter import AddressGuard, is_public
from corral.registry.compat_urllib3 import DirectReply, OwnSocket, close_pools
from corral.registry.deadlines import DEADLINES
from corral.registry.policy import TransferPolicy
from corral.registry.proxies import SOCKS_SCHEMES, proxy_for
from corral.registry.response import Response, redacted

_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
# Registries decide by it what they offer: Hugging Face serves manifests to `ollama/` alone, and Ollama's registry
# refuses versions that are too old for a model. A development build of Ollama calls itself 0.0.0.
USER_AGENT = f"ollama/0.0.0 ({_MACHINE} {sys.platform}) Go/go1.26 corral/{__version__}"
_BLOCK_BYTES = 256 << 10


class Body(Protocol):
    """The body of a request: a file, of which only `read` is used."""

    def read(self, size: int = -1, /) -> bytes: ...


class _Guarded(OwnSocket):
    """Part of a connection class: connects to checked addresses and registers its socket with the transport."""

    transport: Transport
    is_to_proxy = False
    socks_proxy: str | None = None
    response_class = DirectReply

    def open_socket(self, host: str, port: int) -> socket.socket:
        if self.socks_proxy is not None:
            return self.transport.connect_through(self.socks_proxy, host, port)
        return self.transport.connect(host, port, is_proxy=self.is_to_proxy)

    def connect(self: Any) -> None:
        super().connect()  # type: ignore[misc]
        self.transport.watch(self.sock)

    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            self.transport.watch(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]


class Transport:
    """Connections of one transfer. Thread-safe; `cancel` ends every call, now and later."""

    def __init__(
        self,
        guard: AddressGuard,
        policy: TransferPolicy,
        *,
        uses_proxy: bool = True,
        tls: ssl.SSLContext | None = None,
        tls_name: str = "",
    ) -> None:
        """`tls` checks certificates, by default with the system's authorities; `tls_name` is the name in them."""
        self._guard = guard
        self._policy = policy
        self._uses_proxy = uses_proxy
        self._tls = tls
        self._tls_name = tls_name
        self._sockets: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        self._private_hosts: set[str] = set()
        self._managers: dict[tuple[str, str | None], urllib3.PoolManager] = {}
        self.is_cancelled = False

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        head_timeout_s: float | None = None,
    ) -> Response:
        """Send a request and return its reply once the head has arrived; `head_timeout_s` for replies that take work.

        Raises:
            RegistryUnavailableError: no connection, or no head in time.
            ForbiddenAddressError, TransferCancelledError
        """
        if self.is_cancelled:
            raise TransferCancelledError
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryProtocolError(f"cannot fetch {redacted(url)!r}: unsupported URL")
        proxy = proxy_for(url) if self._uses_proxy else None
        all_headers = {
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **tracenotes.outgoing_headers(),
            **(headers or {}),
        }
        try:
            with contextlib.nullcontext() if hasattr(body, "read") else self.deadline(head_timeout_s):
                raw = self._manager(parts.scheme, proxy).request(
                    method,
                    url,
                    headers=all_headers,
                    body=body,  # type: ignore[arg-type]  # anything with `read` will do
                    preload_content=False,
                    decode_content=False,
                    retries=False,
                    redirect=False,
                    timeout=urllib3.Timeout(
                        connect=self._policy.stall_timeout_s,
                        read=max(self._policy.stall_timeout_s, head_timeout_s or 0),
                    ),
                )
        except CorralError as exc:
            if isinstance(exc, RegistryUnavailableError):
                raise self._failed(method, url, str(exc)) from exc
            raise
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as exc:
            raise self.explain(exc, method, url) from exc
        finally:
            if self.is_cancelled:
                self.interrupt()
        return Response(raw, method, url, self)

    def _manager(self, scheme: str, proxy: str | None) -> urllib3.PoolManager:
        with self._lock:
            manager = self._managers.get((scheme, proxy))
            if manager is None:
                manager = self._managers[scheme, proxy] = self._make_manager(scheme, proxy)
            return manager

    def _make_manager(self, scheme: str, proxy: str | None) -> urllib3.PoolManager:
        socks_proxy = proxy if proxy is not None and urlsplit(proxy).scheme in SOCKS_SCHEMES else None
        if socks_proxy is not None:
            proxy = None  # it concerns connections only: requests look like direct ones
        members = {"transport": self, "is_to_proxy": proxy is not None, "socks_proxy": socks_proxy}
        plain = type("_Plain", (_Guarded, HTTPConnection), members)
        secure = type("_Secure", (_Guarded, HTTPSConnection), members)
        options: dict[str, Any] = {
            "num_pools": 8,
            "maxsize": self._policy.max_streams,
            "blocksize": _BLOCK_BYTES,
        }
        if scheme == "https" or (proxy or "").startswith("https:"):
            # Reading the system's certificates takes a while.
            options["ssl_context"] = self._tls or _tls_context()
            if self._tls_name:
                options["server_hostname"] = self._tls_name
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            user = urlsplit(proxy)
            if user.username:
                login = f"{unquote(user.username)}:{unquote(user.password or '')}"
                options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
            manager = urllib3.ProxyManager(proxy, **options)
        manager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        return manager

    def connect(self, host: str, port: int, *, is_proxy: bool) -> socket.socket:
        """A connected socket to one of the checked addresses of a host. A proxy was named by the user.

        Raises:
            RegistryUnavailableError, ForbiddenAddressError
        """
        guard = AddressGuard([(host.lower().strip("[]"), None)]) if is_proxy else self._guard
        addresses = guard.resolve(host, port)
        error: Exception | None = None
        for i, address in enumerate(addresses):
            if self.is_cancelled:
                raise TransferCancelledError
            sock = socket.socket(address.family, socket.SOCK_STREAM)
            is_last = i == len(addresses) - 1
            # A route that drops packets (often IPv6 at home) must not use up the whole timeout.
            timeout_s = self._policy.connect_timeout_s
            sock.settimeout(timeout_s if is_last else min(timeout_s, 4.0))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.watch(sock)
                sock.connect(address.sockaddr)
            except OSError as exc:
                sock.close()
                error = RegistryUnavailableError(f"dial tcp {address.shown}: {_connect_text(exc)}")
                continue
            sock.settimeout(self._policy.stall_timeout_s)
            is_known = is_proxy or guard.is_trusted(host, port)
            if not is_known and not is_public(str(address.sockaddr[0])):
                self._private_hosts.add(host.lower().strip("[]"))
            return sock
        raise error or RegistryUnavailableError(f"dial tcp: lookup {host}: no address")

    def connect_through(self, proxy: str, host: str, port: int) -> socket.socket:
        """A socket that a SOCKS proxy has connected to a host, whose name it resolves.

        Raises:
            RegistryUnavailableError, TransferCancelledError
        """
        parts = urlsplit(proxy)
        proxy_port = parts.port or socks.DEFAULT_PORT
        login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        sock = self.connect(parts.hostname or "", proxy_port, is_proxy=True)
        try:
            socks.open_tunnel(sock, host, port, login)
        except (OSError, ValueError, socks.SocksError) as exc:
            sock.close()
            text = "i/o timeout" if isinstance(exc, TimeoutError) else str(exc)
            raise RegistryUnavailableError(
                f"socks connect tcp {parts.hostname}:{proxy_port}->{host}:{port}: {text}"
            ) from exc
        return sock

    def is_private(self, url: str) -> bool:
        """Whether a host that the configuration does not name was reached in a private network."""
        return (urlsplit(url).hostname or "") in self._private_hosts

    # --- interruption ---

    def watch(self, sock: socket.socket) -> None:
        """Note the socket that the calling thread waits for."""
        with self._lock:
            self._sockets[threading.get_ident()] = sock

    def interrupt(self, thread_id: int | None = None) -> None:
        """Break the call that a thread is in (None: all of them)."""
        with self._lock:
            if thread_id is None:
                sockets = list(self._sockets.values())
            else:
                sockets = [self._sockets[thread_id]] if thread_id in self._sockets else []
        for sock in sockets:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own method, which removes the TLS state while another thread reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    @contextlib.contextmanager
    def deadline(self, seconds: float | None = None) -> Iterator[None]:
        """Break the calling thread's call if it takes longer than the policy (or `seconds`) allows."""
        seconds = max(self._policy.head_timeout_s, seconds or 0)
        with DEADLINES.call_after(seconds, functools.partial(self.interrupt, threading.get_ident())):
            yield

    def cancel(self) -> None:
        self.is_cancelled = True
        self.interrupt()

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            managers = list(self._managers.values())
            self._managers.clear()
            self._sockets.clear()
        for manager in managers:
            close_pools(manager)

    def explain(self, exc: Exception, method: str, url: str) -> RegistryError:
        """Corral's error for a failure inside urllib3."""
        if self.is_cancelled:
            return TransferCancelledError()
        return self._failed(method, url, _failure_text(exc))

    def _failed(self, method: str, url: str, text: str) -> RegistryUnavailableError:
        hint = ""
        if "HTTP response to HTTPS client" in text:
            hint = "this registry speaks plain http: if you trust the network, allow it with insecure (--insecure)"
        return RegistryUnavailableError(f'{method.capitalize()} "{redacted(url)}": {text}', hint=hint)


@functools.lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    """Certificates of the system; SSL_CERT_FILE and SSL_CERT_DIR name others."""
    return ssl.create_default_context()


def _connect_text(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "i/o timeout"
    return f"connect: {(exc.strerror or str(exc)).lower()}"


def _failure_text(exc: BaseException) -> str:
    """In Ollama's words, where it has any."""
    causes = [exc]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 8:
        causes.append(inner)
    causes += [arg for arg in exc.args if isinstance(arg, BaseException)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"tls: failed to verify certificate: x509: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and cause.reason in (
            "WRONG_VERSION_NUMBER",
            "RECORD_LAYER_FAILURE",
        ):
            return "http: server gave HTTP response to HTTPS client"
        if isinstance(cause, ssl.SSLEOFError):
            return "unexpected EOF"
        if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
            return "i/o timeout"
        if isinstance(cause, http.client.RemoteDisconnected):
            return "EOF"
        if isinstance(cause, http.client.IncompleteRead | urllib3.exceptions.IncompleteRead):
            return "unexpected EOF"
        if isinstance(cause, ConnectionResetError):
            return "read: connection reset by peer"
        if isinstance(cause, BrokenPipeError):
            return "write: broken pipe"
    return " ".join(str(exc).split())[:500] or type(exc).__name__
