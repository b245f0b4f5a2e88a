"""Which addresses a connection may go to.

A registry sends its clients on: redirects to CDNs, token services, upload locations. None of these may lead into
the private network of the machine that pulls, unless the user named that very host. A name is resolved once and
the connection goes to an address that was checked, so a second answer of the name server cannot change it.

Addresses where clouds hand out a machine's credentials are never a registry: a client of the API that names one is
rejected, unless the configuration trusts that host.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from corral.errors import RegistryError, RegistryUnavailableError

# Instance metadata: AWS, Azure, Google and others; AWS's containers and IPv6; Alibaba; Azure's host.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddressError(RegistryError):
    """A registry pointed to an address inside a private network."""


@dataclass(frozen=True, slots=True)
class Address:
    """The arguments of `socket.socket` and `connect`."""

    family: int
    sockaddr: tuple[object, ...]

    @property
    def shown(self) -> str:
        host, port = self.sockaddr[0], self.sockaddr[1]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


def is_public(text: str) -> bool:
    """Whether an IP address is a public one."""
    ip = _innermost(text)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _innermost(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that packets finally go to: an IPv6 address may contain an IPv4 one."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is None and ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if inner is None and ip.teredo is not None:
        inner = ip.teredo[1]
    return ip if inner is None else inner


class AddressGuard:
    """Knows the hosts that were named by the caller or the configuration; thread-safe once built.

    An entry is (host in lower case, port), with None for any port. Only what the configuration names is `trusted`.
    """

    def __init__(
        self, named: Iterable[tuple[str, int | None]] = (), trusted: Iterable[tuple[str, int | None]] = ()
    ) -> None:
        self._trusted = frozenset(trusted)
        self._named = self._trusted.union(named)

    def is_named(self, host: str, port: int) -> bool:
        return _has(self._named, host, port)

    def is_trusted(self, host: str, port: int) -> bool:
        return _has(self._trusted, host, port)

    def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a host that may be connected to.

        Raises:
            RegistryUnavailableError: the name does not resolve.
            ForbiddenAddressError: all are private and the host was not named, or all are addresses of cloud metadata.
        """
        host = host.strip("[]")
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise RegistryUnavailableError(f"dial tcp: lookup {host}: {_lookup_text(exc)}") from exc
        found = [Address(int(family), sockaddr) for family, _, _, _, sockaddr in infos]
        if not self.is_named(host, port):
            found = [address for address in found if is_public(str(address.sockaddr[0]))]
            if not found:
                raise ForbiddenAddressError(
                    f"dial tcp: {host}:{port} has a private address and was not named by you",
                    hint=f"CORRAL_REGISTRY_TRUSTED_HOSTS={_shown(host)}:{port} allows it",
                )
        if not self.is_trusted(host, port):
            found = [address for address in found if _innermost(str(address.sockaddr[0])) not in _METADATA]
            if not found:
                raise ForbiddenAddressError(
                    f"dial tcp: {host}:{port} is an address of cloud metadata, not of a registry",
                    hint=f"CORRAL_REGISTRY_TRUSTED_HOSTS={_shown(host)}:{port} allows it",
                )
        return found


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has(entries: frozenset[tuple[str, int | None]], host: str, port: int) -> bool:
    host = host.lower().strip("[]")
    return (host, port) in entries or (host, None) in entries


def _lookup_text(exc: Exception) -> str:
    if isinstance(exc, socket.gaierror) and exc.errno in (
        socket.EAI_NONAME,
        getattr(socket, "EAI_NODATA", None),
    ):
        return "no such host"
    return (getattr(exc, "strerror", None) or str(exc)).lower()
