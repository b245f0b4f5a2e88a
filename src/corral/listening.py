"""The listening socket, the descriptors for its connections, and warnings about the address."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import resource
import socket

from corral.errors import CorralError
from corral.hostaddress import HostAddress

BACKLOG = 2048
# More than a personal machine needs, and more than a hostile client should get.
_MAX_CONNECTIONS = 4096
_MAX_DESCRIPTORS = 1 << 16
# For everything but connections: models, pipes to children, the store.
_SPARE_DESCRIPTORS = 64

_HINTS = {
    errno.EADDRINUSE: "another server may be running; set OLLAMA_HOST to use another address",
    errno.EACCES: "ports below 1024 need privileges; set OLLAMA_HOST to use another port",
    errno.EADDRNOTAVAIL: "this machine does not have this address; correct OLLAMA_HOST",
}


def listen(address: HostAddress) -> socket.socket:
    """Bind before anything slow happens, so that early clients wait instead of failing.

    Raises:
        CorralError
    """
    try:
        family, kind, protocol, _, sockaddr = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not address.host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(sockaddr)
        listener.listen(BACKLOG)
    except socket.gaierror as exc:
        raise CorralError(
            f"listen tcp: lookup {address.host}: {(exc.strerror or str(exc)).lower()}",
            hint="correct the host in OLLAMA_HOST",
        ) from exc
    except (OSError, UnicodeError) as exc:
        reason = (getattr(exc, "strerror", None) or str(exc)).lower()
        hint = _HINTS.get(getattr(exc, "errno", 0) or 0, "correct OLLAMA_HOST")
        raise CorralError(f"listen tcp {address.host}:{address.port}: bind: {reason}", hint=hint) from exc
    listener.setblocking(False)
    return listener


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one, as Go does; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def connection_limit(descriptors: int) -> int:
    """The number of connections that fit: each may need a second descriptor, to the engine."""
    spare = min(_SPARE_DESCRIPTORS, descriptors // 4)
    return max(min((descriptors - spare) // 2, _MAX_CONNECTIONS), 8)


def is_public(host: str) -> bool:
    """Whether other machines can reach a server that listens there. Names other than localhost count as public."""
    try:
        return not ipaddress.ip_address(host or "0.0.0.0").is_loopback
    except ValueError:
        return host != "localhost"


def public_warning(host: str, port: int, *, is_off: bool = False) -> str:
    """The warning about an address that other machines can reach without a key, in one line.

    `is_off`: there may be keys, but they are not asked for.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reason, remedy = "there is no API key", "corral key create NAME"
    if is_off:
        reason, remedy = "CORRAL_AUTH=off", "CORRAL_AUTH=remote and corral key create NAME"
    return (
        f"ANYONE WHO CAN REACH {where} CAN USE, CHANGE AND DELETE THE MODELS: {reason}. To require one: {remedy}. "
        "To keep other machines out: OLLAMA_HOST=127.0.0.1"
    )
