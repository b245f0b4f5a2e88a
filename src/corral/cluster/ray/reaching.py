"""What can be found out before Ray starts, which takes half a minute or two to say the same."""

from __future__ import annotations

import socket

from corral.cluster.ray.failures import unreachable
from corral.cluster.ray.library import RayError
from corral.cluster.ray.record import NodeRecord

_CONNECT_S = 5.0


def check_reach(record: NodeRecord) -> None:
    """Whether the ports are free, and the head is there.

    Raises:
        RayError
    """
    if taken := record.plan().taken(record.address, is_head=record.is_head):
        flag = "--port" if record.is_head and taken == record.head_port else "--ports"
        raise RayError(f"port {taken} is taken", hint=f"choose another with {flag}")
    if not record.is_head:
        check_head(record.head)


def check_head(head: str) -> None:
    """Raises UnreachableError."""
    host, _, port = head.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, UnicodeError, ValueError):
        raise unreachable(head) from None
