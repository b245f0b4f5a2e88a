"""Where a request comes from: the address at the other end, or what a trusted proxy says of the one behind it.

Nobody else is believed. But whoever sends such a header, trusted or not, is a proxy, or wants to look like one: the
request then does not count as one of this machine, even if it comes over the loopback interface.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from corral.errors import CorralError

Headers = Sequence[tuple[bytes, bytes]]
UNIX = "unix"
# Headers that only proxies and tunnels add.
_SIGNS = frozenset(
    b"cf-connecting-ip forwarded true-client-ip via x-client-ip x-forwarded-for x-forwarded-host x-forwarded-proto"
    b" x-forwarded-server x-real-ip".split()
)
_FOR = re.compile(r'(?:^|[;,\s])for=("[^"]*"|[^;,\s]*)', re.IGNORECASE)
_PROTO = re.compile(r'(?:^|[;,\s])proto="?(https?)"?(?=$|[;,\s])', re.IGNORECASE)
_MAX_HOPS = 64


@dataclass(frozen=True, slots=True)
class Client:
    """`address` is empty for a unix socket. `is_local`: a program of this machine, with no proxy in between.

    `host` is what a trusted proxy says the client's request was for (`X-Forwarded-Host`); empty without one.
    """

    address: str
    is_local: bool
    scheme: str = "http"
    host: str = ""


class Proxies:
    """The proxies that are trusted: addresses, networks, or `unix` for those that come over a unix socket.

    Raises:
        CorralError: an entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        named = list(entries)
        self._has_unix = UNIX in named
        try:
            self._networks = [ip_network(entry, strict=False) for entry in named if entry != UNIX]
        except ValueError as exc:
            raise CorralError(
                f"CORRAL_TRUSTED_PROXIES: {exc}", hint="name addresses, networks like 10.0.0.0/8, or unix"
            ) from None
        self._trusts: Callable[[str], bool] = lru_cache(maxsize=1024)(self._is_trusted)

    def client(self, peer: str, headers: Headers, *, is_encrypted: bool = False) -> Client:
        """Who is at the other end, or behind a trusted proxy there."""
        scheme = "https" if is_encrypted else "http"
        if not any(name in _SIGNS for name, _ in headers):
            return Client(peer, _is_loopback(peer), scheme)
        if not self._trusts(peer):
            return Client(peer, False, scheme)
        address, claimed = self._forwarded(peer, headers)
        host = _joined(headers, b"x-forwarded-host").rpartition(",")[2].strip().lower()
        return Client(address, False, claimed or scheme, host)

    def _is_trusted(self, peer: str) -> bool:
        if not peer:
            return self._has_unix
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._networks)

    def _forwarded(self, peer: str, headers: Headers) -> tuple[str, str]:
        """The nearest address that is not a trusted proxy's, and the scheme there if it is said.

        A proxy that writes one kind of header passes the other kind on as a stranger wrote it, so two kinds say
        nothing.
        """
        usual = _joined(headers, b"x-forwarded-for")
        standard = _joined(headers, b"forwarded")
        if usual and standard:
            return peer, ""
        hops = usual.split(",") if usual else [match[1] for match in _FOR.finditer(standard)]
        schemes = (
            _joined(headers, b"x-forwarded-proto").split(",") if not standard else _PROTO.findall(standard)
        )
        scheme = schemes[-1].strip().lower() if schemes else ""
        address = peer
        for hop in reversed(hops[-_MAX_HOPS:]):
            found = _parsed(_without_port(hop.strip().strip('"')))
            if found is None:
                break
            address = str(found)
            if not self._trusts(address):
                break
        return address, scheme if scheme in ("http", "https") else ""


@lru_cache(maxsize=4096)
def bucket_of(address: str) -> str:
    """What is counted together: an IPv4 address, or the network of an IPv6 address, of which everybody has many."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


@lru_cache(maxsize=4096)
def _is_loopback(peer: str) -> bool:
    if not peer:
        return True
    address = _parsed(peer)
    return address is not None and address.is_loopback


@lru_cache(maxsize=4096)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _joined(headers: Headers, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in headers if key == name)
