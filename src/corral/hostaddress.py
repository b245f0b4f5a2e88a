"""The address of a server, as in `OLLAMA_HOST` (ollama: envconfig/config.go, Host).

Imports nothing, because every CLI command loads this first.
"""

from __future__ import annotations

# What every system takes (Linux 107, macOS 103).
_MAX_SOCKET_PATH_BYTES = 103
_SCHEMES = ("http", "https", "tcp")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


class HostAddress:
    """An address; treat it as frozen. An empty `host` listens on every interface.

    The scheme `unix` is a socket in the file system, whose place is `path`. `has_scheme`: it was written down.
    """

    __slots__ = ("has_scheme", "host", "path", "port", "scheme")

    def __init__(
        self, scheme: str, host: str, port: int, path: str = "", *, has_scheme: bool = False
    ) -> None:
        self.has_scheme = has_scheme
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostAddress) and self.url() == other.url()

    def __hash__(self) -> int:
        return hash(self.url())

    def __repr__(self) -> str:
        return f"HostAddress({self.url()!r})"

    @classmethod
    def parse(cls, text: str) -> HostAddress:
        """Read `OLLAMA_HOST` in any of its forms; invalid parts get their defaults."""
        text = strip_setting(text)
        scheme, mark, rest = text.partition("://")
        if mark and scheme == "unix":
            return cls("unix", "", 0, rest, has_scheme=True)
        if not mark:
            scheme, rest = "http", text
        default_port = {"http": 80, "https": 443}.get(scheme, 11434) if mark else 11434
        scheme = "http" if scheme == "tcp" else scheme
        if not mark and rest.split(":")[0].lower() == "ollama.com":
            scheme, default_port = "https", 443
        rest, slash, path = rest.partition("/")
        host, port = _split_port(rest, default_port)
        if not rest:
            host = "127.0.0.1"
        return cls(scheme, host, port, f"/{path}" if slash and path else "", has_scheme=bool(mark))

    @property
    def is_unix(self) -> bool:
        return self.scheme == "unix"

    @property
    def is_loopback(self) -> bool:
        return self.is_unix or self.host in ("localhost", "::1") or self.host.startswith("127.")

    def url(self) -> str:
        if self.is_unix:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def _split_port(text: str, default: int) -> tuple[str, int]:
    if text.startswith("["):
        host, _, tail = text[1:].partition("]")
        port_text = tail.removeprefix(":")
    elif text.count(":") > 1:  # a bare IPv6 address
        return text, default
    else:
        host, _, port_text = text.partition(":")
    port = int(port_text) if port_text.isascii() and port_text.isdigit() else default
    return host, port if 0 <= port <= 65535 else default


def host_problem(text: str) -> str:
    """What is wrong with a value of `OLLAMA_HOST`; empty if it is valid.

    Ollama silently uses its default port for an invalid value.
    """
    text = strip_setting(text)
    scheme, mark, rest = text.partition("://")
    if text.startswith("unix:"):
        return _path_problem(rest if mark else "")
    if mark and scheme not in _SCHEMES:
        return f"{scheme}:// is not supported, only http://, https:// and unix://"
    if "@" in text:
        return "an address does not have a user name and a password"
    hostport = (rest if mark else text).partition("/")[0]
    if not hostport:
        return "" if not text else "the host is missing"
    return _hostport_problem(hostport)


def _path_problem(path: str) -> str:
    if not path.startswith("/") or path.endswith("/"):
        return "unix:// needs the absolute path of a socket, as in unix:///run/corral/corral.sock"
    if len(path.encode()) > _MAX_SOCKET_PATH_BYTES or "\0" in path:
        return f"the path of a socket may have at most {_MAX_SOCKET_PATH_BYTES} bytes"
    return ""


def _hostport_problem(hostport: str) -> str:
    if hostport.startswith("["):
        host, bracket, tail = hostport[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            return "the brackets around the address are not closed"
        return _address_problem(host) or _port_problem(tail[1:])
    if hostport.count(":") > 1:
        return _address_problem(hostport)
    host, _, port = hostport.partition(":")
    if wrong := sorted(set(host) - _NAME_CHARACTERS):
        return f"{wrong[0]!r} is not allowed in a host name" if host.isascii() else ""
    return _port_problem(port)


def _address_problem(host: str) -> str:
    from ipaddress import AddressValueError, IPv6Address  # rarely needed, and slow to load

    try:
        IPv6Address(host)
    except AddressValueError:
        return f"{host!r} is not an IPv6 address"
    return ""


def _port_problem(port: str) -> str:
    if not port or (port.isascii() and port.isdigit() and int(port) <= 65535):
        return ""
    return f"{port!r} is not a port (0 to 65535)"


def strip_setting(text: str) -> str:
    """The value of an environment variable without blanks and quotes around it."""
    return text.strip().strip("\"'")
