"""Which web pages and which Host names may talk to the server (CORS, and the guard against DNS rebinding).

Both checks run before routing, for unknown paths too. Ollama: server/routes.go, allowedHostsMiddleware.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Sequence
from functools import lru_cache

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
# Nobody can register a name below these on the internet.
_PRIVATE_SUFFIXES = (*_LOCAL_SUFFIXES, ".lan", ".home.arpa", ".home", ".corp", ".intranet", ".private")

_STAINLESS = (
    "Arch",
    "Async",
    "Custom-Poll-Interval",
    "Helper-Method",
    "Lang",
    "Os",
    "Package-Version",
    "Poll-Helper",
    "Retry-Count",
    "Runtime",
    "Runtime-Version",
    "Timeout",
)
_ALLOWED_HEADERS = ",".join(
    ["Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "Openai-Beta"]
    + [f"X-Stainless-{name}" for name in _STAINLESS]
)

# What is read besides. A page is allowed those of them that it asks for: all other answers are Ollama's.
_FURTHER_HEADERS = (
    "X-Corral-Deadline",
    "X-Corral-Priority",
    "X-Corral-Metrics",
    "X-Corral-Session",
    "X-Corral-Node",
    "X-Request-Id",
    "Traceparent",
    "Tracestate",
    "X-Api-Key",
    "Anthropic-Version",
    "Anthropic-Beta",
    "Anthropic-Dangerous-Direct-Browser-Access",
    "OpenAI-Organization",
    "OpenAI-Project",
    "If-None-Match",
    "Last-Event-ID",
)
_VARY_PREFLIGHT: list[tuple[bytes, bytes]] = [
    (b"vary", b"Access-Control-Request-Method"),
    (b"vary", b"Access-Control-Request-Headers"),
]


class OriginRules:
    """The origins that may read answers: configured ones, local pages, desktop app shells."""

    def __init__(self, configured: Sequence[str]) -> None:
        self._allows_all = "*" in configured
        local = [
            f"{scheme}://{host}{port}"
            for host in _LOCAL_HOSTS
            for port in ("", ":*")
            for scheme in ("http", "https")
        ]
        patterns = [origin.lower() for origin in configured] + local + list(_APP_ORIGINS)
        self._exact = {pattern for pattern in patterns if "*" not in pattern}
        self._wildcards = [
            (before, after) for before, _, after in (p.partition("*") for p in patterns if "*" in p)
        ]

    def headers_for(self, origin: str) -> list[tuple[bytes, bytes]] | None:
        """Headers to add for a foreign origin; None means refused."""
        if self._allows_all:
            return [(b"access-control-allow-origin", b"*")]
        if not self._is_allowed(origin):
            return None
        return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]

    def preflight_headers(self, wanted: str) -> list[tuple[bytes, bytes]]:
        """Headers to add besides for a preflight request; `wanted`: names of headers that the page would send."""
        asked = {name.strip().lower() for name in wanted.split(",")}
        names = [_ALLOWED_HEADERS, *(name for name in _FURTHER_HEADERS if name.lower() in asked)]
        headers = [
            (b"access-control-allow-methods", b"GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
            (b"access-control-allow-headers", ",".join(names).encode("ascii")),
            (b"access-control-max-age", b"43200"),
        ]
        return headers if self._allows_all else headers + _VARY_PREFLIGHT

    def _is_allowed(self, origin: str) -> bool:
        return origin in self._exact or any(
            len(origin) >= len(before) + len(after) and origin.startswith(before) and origin.endswith(after)
            for before, after in self._wildcards
        )


class HostGuard:
    """Refuses foreign Host names while the server listens on loopback only."""

    def __init__(self, *, is_loopback: bool, ports: Collection[int] = (11434,)) -> None:
        self._is_active = is_loopback
        self._ports = frozenset(ports)
        self._hostname = socket.gethostname().lower()
        self.verdict = lru_cache(maxsize=1024)(self._verdict)

    def may_be_rebound(self, host_header: str) -> bool:
        """Whether a page that calls itself by this host may be a foreign one, whose name was made to point here.

        While other machines may come under any name, a page of the same origin on a port of ours is trusted only
        under names that no stranger can register.
        """
        if self._is_active or _port(host_header, 80) not in self._ports:
            return False
        return not self.is_unregistrable(host_header)

    def is_unregistrable(self, host_header: str) -> bool:
        """Whether this is an address, or a name that no stranger can register and make to point here."""
        host = _split_port(host_header).lower()
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return (
                host in ("localhost", self._hostname) or "." not in host or host.endswith(_PRIVATE_SUFFIXES)
            )
        return True

    def _verdict(self, host_header: str) -> str:
        """`"address"` or `"name"` for an allowed host (an OPTIONS to a name ends with 204), else `""`."""
        if not self._is_active:
            return "address"
        host = _split_port(host_header)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower()
            is_local = name in ("", "localhost", self._hostname) or name.endswith(_LOCAL_SUFFIXES)
            return "name" if is_local else ""
        if address.is_loopback or address.is_unspecified or _is_private(address) or _is_own(address):
            return "address"
        return ""


def _split_port(host: str) -> str:
    """The host without its port; whatever does not split stays whole, as Go's SplitHostPort has it."""
    if host.startswith("["):
        end = host.find("]")
        return host[1:end] if end > 0 and host[end + 1 : end + 2] == ":" else host
    name, colon, port = host.partition(":")
    return name if colon and (not port or port.isdigit()) else host


def _port(host: str, default: int) -> int:
    text = host.rpartition(":")[2] if host.count(":") == 1 or "]:" in host else ""
    return int(text) if text.isascii() and text.isdigit() else default


_PRIVATE_NETWORKS = [
    ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # Go's IsPrivate: RFC 1918 and RFC 4193 alone; Python's also counts link-local and test networks.
    return any(address.version == net.version and address in net for net in _PRIVATE_NETWORKS)


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
