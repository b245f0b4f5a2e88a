"""Which TCP ports a Ray node uses: every one is chosen here, so that none is Ollama's.

Ray's own choice for workers, 10002 to 19999, has 11434 in it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from corral.errors import CorralError

HEAD_PORT = 6379
SERVER_PORT = 11434
DEFAULT_RANGE = "20300-20399"
# The first ports of the range, in this order; the rest is for workers.
_FIXED = (
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
)
# The supervisor, the directory, commands that look, and workers that Ray starts in advance.
_FEWEST_WORKERS = 10
_LOWEST, _HIGHEST = 1024, 65535


class PortError(CorralError):
    """A port that cannot be used, or a range of them."""


@dataclass(frozen=True, slots=True)
class PortPlan:
    """The ports of one node: the head's, and a range; `server` is where Corral itself listens."""

    head: int
    first: int
    last: int
    server: int = SERVER_PORT

    @classmethod
    def parse(cls, text: str, *, head: int = HEAD_PORT, server: int = SERVER_PORT) -> PortPlan:
        """Read a range such as `20300-20399`.

        Raises:
            PortError: it is not a range, is too small, or has a port in it that is needed for something else.
        """
        first, _, last = text.strip().partition("-")
        if not (_is_number(first) and _is_number(last)):
            raise PortError(f"{text[:50]!r} is not a range of ports", hint=f"write it as in {DEFAULT_RANGE}")
        plan = cls(head, int(first), int(last), server)
        plan._check()
        return plan

    def _check(self) -> None:
        fewest = len(_FIXED) + _FEWEST_WORKERS
        shown = f"the ports {self.first}-{self.last}"
        if not _LOWEST <= self.first <= self.last <= _HIGHEST:
            raise PortError(f"{shown} are not between {_LOWEST} and {_HIGHEST}")
        if self.last - self.first + 1 < fewest:
            raise PortError(f"{shown} are too few: Ray needs {fewest}")
        if not _LOWEST <= self.head <= _HIGHEST:
            raise PortError(f"port {self.head} is not between {_LOWEST} and {_HIGHEST}")
        if self.head == SERVER_PORT:
            raise PortError(f"port {SERVER_PORT} is for the API, not for Ray", hint="choose another --port")
        for port, what in (
            (SERVER_PORT, "the API's"),
            (self.server, "this server's"),
            (self.head, "the head's"),
        ):
            if self.first <= port <= self.last:
                raise PortError(
                    f"{shown} contain {port}, which is {what}", hint="choose another range with --ports"
                )
        if self.head == self.server:
            raise PortError(f"port {self.head} is this server's", hint="choose another --port")

    def arguments(self) -> list[str]:
        """What `ray start` is given, on a node that is not the head."""
        fixed = [f"--{name}={self.first + place}" for place, name in enumerate(_FIXED)]
        return [*fixed, f"--min-worker-port={self.first + len(_FIXED)}", f"--max-worker-port={self.last}"]

    def taken(self, address: str, *, is_head: bool) -> int:
        """A port that something else listens on already; 0 if there is none."""
        listeners = [self.first + place for place in range(len(_FIXED))]
        for port in [*([self.head] if is_head else []), *listeners]:
            if any(is_taken(host, port) for host in _hosts(address)):
                return port
        return 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _hosts(address: str) -> Iterator[str]:
    """Ray listens on all addresses of the machine, except where it is given the loopback address."""
    yield address
    if not address.startswith("127."):
        yield "::" if ":" in address else "0.0.0.0"


def is_taken(host: str, port: int) -> bool:
    """Whether something listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            return exc.errno == errno.EADDRINUSE
    return False
