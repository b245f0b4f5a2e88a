"""By which address this machine is known to the others of its cluster."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import sys
from contextlib import suppress

from corral.errors import CorralError

# ioctl of bits/ioctls.h and sys/sockio.h: the IPv4 address of an interface.
_GET_ADDRESS = 0xC0206921 if sys.platform == "darwin" else 0x8915
# TEST-NET-3 (RFC 5737): nothing is sent, the system only says which way it would go.
_ANYWHERE = "203.0.113.1"
_HINT = "choose one with --address or --interface"


class AddressError(CorralError):
    """No address of this machine can be used, or the one that was given cannot."""


def choose_address(address: str = "", interface: str = "", *, towards: str = "") -> str:
    """An IP address of this machine: as given, that of an interface, or the one that leads to a host.

    Without any of them it is the address of the default route, if it is a private one: Ray listens there for whoever
    has its token, so a public address has to be named.

    Raises:
        AddressError
    """
    if address and interface:
        raise AddressError("--address and --interface say the same thing; give one of them")
    if address:
        return _own(address)
    if interface:
        return _address_of(interface)
    found = _route_to(towards or _ANYWHERE)
    if not found:
        raise AddressError("no network address of this machine was found", hint=_HINT)
    if not towards and not ipaddress.ip_address(found).is_private:
        raise AddressError(f"the address of this machine, {found}, is a public one", hint=_HINT)
    return found


def interfaces() -> dict[str, str]:
    """IPv4 addresses by the names of the interfaces that have one."""
    found = {}
    for _, name in socket.if_nameindex():
        with suppress(OSError):
            found[name] = _ioctl_address(name)
    return found


def _address_of(interface: str) -> str:
    known = interfaces()
    if interface not in known:
        shown = ", ".join(f"{name} ({address})" for name, address in known.items())
        raise AddressError(
            f"no interface {interface[:50]!r} has an IPv4 address", hint=f"these have one: {shown}"
        )
    return known[interface]


def _ioctl_address(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        packed = fcntl.ioctl(probe.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
    return socket.inet_ntoa(packed[20:24])


def _own(text: str) -> str:
    try:
        found = socket.getaddrinfo(text, 0, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise AddressError(
            f"{text[:100]!r} is not an address", hint="write the IP address of this machine"
        ) from None
    address = str(found[4][0])
    if ipaddress.ip_address(address).is_unspecified:
        raise AddressError(f"{address} is every address of this machine, not one of them", hint=_HINT)
    with socket.socket(found[0], socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            shown = ", ".join(interfaces().values())
            raise AddressError(
                f"this machine does not have the address {address}", hint=f"it has {shown}"
            ) from None
    return address


def _route_to(host: str) -> str:
    """The own address from which packets would leave for a host; empty if there is no way."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except (OSError, UnicodeError):
        return ""
