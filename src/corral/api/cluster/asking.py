"""Short questions to other nodes on behalf of a caller: all at once, each with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from corral.api.cluster.hopping import answer_headers, header_of, request_headers, target_of
from corral.api.http.exchange import Exchange
from corral.cluster.peers.peer import Peer
from corral.cluster.peers.wire import Headers
from corral.errors import NodeError

# A node that is stopped must not slow a list of the others.
LOOK_S = 1.5
_MAX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What a node answered. `status` 0: nothing, and `problem` says why."""

    node: str
    status: int = 0
    body: bytes = b""
    content_type: str = ""
    headers: Headers | None = None
    problem: str = ""


async def ask_all(
    exchange: Exchange,
    peers: Iterable[Peer],
    gateway: str,
    *,
    method: str = "GET",
    target: bytes = b"",
    body: bytes = b"",
    timeout_s: float = LOOK_S,
) -> list[NodeAnswer]:
    """Ask every node the same, in the order of the nodes. `target` empty: that of the exchange."""
    wanted, headers = target or target_of(exchange), request_headers(exchange, gateway, 0)
    return await asyncio.gather(*(_ask(peer, method, wanted, headers, body, timeout_s) for peer in peers))


async def _ask(
    peer: Peer, method: str, target: bytes, headers: Headers, body: bytes, timeout_s: float
) -> NodeAnswer:
    node = peer.name or peer.member.url
    try:
        answer, data = await peer.ask(
            method, target, headers, body, timeout_s=timeout_s, limit_bytes=_MAX_BYTES
        )
    except NodeError as error:
        return NodeAnswer(node, problem=str(error))
    kind = header_of(answer.headers, b"content-type")
    return NodeAnswer(node, answer.status, data, kind, answer_headers(answer.headers))


async def respond_as(exchange: Exchange, answer: NodeAnswer) -> None:
    """Answer what a node has answered.

    Raises:
        NodeError: it has not.
    """
    if not answer.status:
        raise NodeError(f"node {answer.node}: {answer.problem}")
    await exchange.respond(answer.status, answer.body, answer.content_type or None, answer.headers)
