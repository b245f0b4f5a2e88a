"""Connections through SOCKS5 proxies (RFC 1928, RFC 1929). The proxy resolves names, as with Go's client."""

from __future__ import annotations

import ipaddress
import socket
import struct

DEFAULT_PORT = 1080
_VERSION = 5
_NO_LOGIN, _LOGIN, _NONE_FITS = 0, 2, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}
_REFUSALS = {
    1: "general SOCKS server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class SocksError(Exception):
    """The proxy refused, or is not a SOCKS5 proxy."""


def open_tunnel(sock: socket.socket, host: str, port: int, login: tuple[str, str] | None = None) -> None:
    """Turn a connection to a proxy into one to `host`. `login`: user and password, for proxies that require them.

    Raises:
        SocksError
        OSError
    """
    methods = bytes([_NO_LOGIN, _LOGIN] if login else [_NO_LOGIN])
    sock.sendall(bytes([_VERSION, len(methods)]) + methods)
    version, method = _receive(sock, 2)
    if version != _VERSION:
        raise SocksError(f"unexpected protocol version {version}: is this a SOCKS5 proxy?")
    if method == _LOGIN and login:
        _log_in(sock, *login)
    elif method == _NONE_FITS or method not in methods:
        raise SocksError(
            "the proxy requires a login" if login is None else "no acceptable authentication method"
        )
    sock.sendall(bytes([_VERSION, _CONNECT, 0]) + _address(host) + struct.pack("!H", port))
    version, code, _, kind = _receive(sock, 4)
    if version != _VERSION:
        raise SocksError(f"unexpected protocol version {version}")
    if code:
        raise SocksError(_REFUSALS.get(code, f"unknown code: {code}"))
    # The address that the proxy connects from: not used, but it has to be read.
    if kind == _NAME:
        (size,) = _receive(sock, 1)
    elif kind in _ADDRESS_BYTES:
        size = _ADDRESS_BYTES[kind]
    else:
        raise SocksError(f"unknown address type {kind}")
    _receive(sock, size + 2)


def _log_in(sock: socket.socket, user: str, password: str) -> None:
    texts = [user.encode(), password.encode()]
    if not texts[0] or any(len(text) > 255 for text in texts):
        raise SocksError("user and password must have 1 to 255 bytes")
    sock.sendall(b"\x01" + b"".join(bytes([len(text)]) + text for text in texts))
    _, status = _receive(sock, 2)
    if status:
        raise SocksError("username/password authentication failed")


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        name = host.encode("idna")
        if not 0 < len(name) <= 255:
            raise SocksError("FQDN too long") from None
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise SocksError("the proxy closed the connection")
        data += piece
    return data
