"""What a plan does at nodes: at this one directly, at others over HTTP with the cluster's key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Protocol

from corral import caller, hops
from corral.cluster.peers.peer import Peer
from corral.cluster.peers.peers import Peers
from corral.cluster.peers.wire import Answer, Headers
from corral.errors import NodeError
from corral.golang.json import encode

# A load may have to wait for others, and for the disk.
_LOAD_S = 1800.0
_UNLOAD_S = 60.0
# A pull reports its progress all the time.
_SILENCE_S = 120.0
_MAX_ANSWER_BYTES = 1 << 20
_MAX_TEXT_CHARS = 500
_GENERATE, _EMBED = b"/api/generate", b"/api/embed"


class OwnHands(Protocol):
    """The same here (`library/own_replicas.py`)."""

    async def fetch(self, model: str) -> None: ...
    async def load(self, model: str, keep_alive_s: int) -> None: ...
    async def unload(self, model: str) -> None: ...


class NodeHands:
    """For the event loop. Nodes are named as they call themselves."""

    def __init__(self, peers: Peers, here: OwnHands) -> None:
        self._peers = peers
        self._here = here

    async def fetch(self, node: str, model: str) -> None:
        """Raises CorralError."""
        if node == self._peers.name:
            await self._here.fetch(model)
            return
        peer = self._peer(node)
        headers = [*self._headers(), *peer.headers()]
        body = encode({"model": model})
        answer = await peer.client.send("POST", b"/api/pull", headers, body, is_fresh=True)
        peer.running.add(answer)
        try:
            await self._follow(node, answer)
        finally:
            peer.running.discard(answer)
            peer.client.release(answer)

    async def load(self, node: str, model: str, keep_alive_s: int) -> None:
        """Raises CorralError."""
        if node == self._peers.name:
            await self._here.load(model, keep_alive_s)
            return
        await self._generate(node, model, f"{keep_alive_s}s", _LOAD_S)

    async def unload(self, node: str, model: str) -> None:
        """Raises CorralError."""
        if node == self._peers.name:
            await self._here.unload(model)
            return
        await self._generate(node, model, 0, _UNLOAD_S)

    async def _generate(self, node: str, model: str, keep_alive: str | int, timeout_s: float) -> None:
        """Ask for nothing but a time to stay."""
        body = {"model": model, "keep_alive": keep_alive, "stream": False}
        status, text = await self._ask(node, _GENERATE, body, timeout_s)
        if status == 400:  # a model that makes vectors
            status, text = await self._ask(node, _EMBED, {**body, "input": ""}, timeout_s)
        _check(node, status, text)

    def _peer(self, node: str) -> Peer:
        peer = self._peers.named(node)
        if peer is None:
            raise NodeError(f"node {node} is not heard")
        return peer

    def _headers(self) -> Headers:
        return [
            (hops.HEADER, hops.header_value(self._peers.name, caller.ANYBODY)),
            (b"content-type", b"application/json"),
        ]

    async def _ask(
        self, node: str, target: bytes, body: Mapping[str, Any], timeout_s: float
    ) -> tuple[int, str]:
        """Status, and the error if it is one."""
        peer = self._peer(node)
        try:
            answer, data = await peer.ask(
                "POST",
                target,
                self._headers(),
                encode(dict(body)),
                timeout_s=timeout_s,
                limit_bytes=_MAX_ANSWER_BYTES,
                is_fresh=True,
            )
        except NodeError as error:
            raise NodeError(f"node {node}: {error}") from error
        return answer.status, _error_of(data)

    async def _follow(self, node: str, answer: Answer) -> None:
        """Read the progress of a pull to its end."""
        last = rest = b""
        try:
            async with asyncio.timeout(_SILENCE_S) as limit:
                await answer.wait_head()
                while data := await answer.next_bytes():
                    limit.reschedule(asyncio.get_running_loop().time() + _SILENCE_S)
                    *lines, rest = (rest + data)[-_MAX_ANSWER_BYTES:].split(b"\n")
                    last = next((line for line in reversed(lines) if line), last)
        except TimeoutError:
            raise NodeError(f"node {node} says nothing of its pull any more") from None
        text = _error_of(rest or last)
        if answer.status == 200 and not text and _value(rest or last, "status") != "success":
            text = "the pull ended too early"
        _check(node, answer.status, text, has_failed=bool(text))


def _check(node: str, status: int, text: str, *, has_failed: bool = False) -> None:
    if status != 200 or has_failed:
        raise NodeError(f"node {node}: {text or f'status {status}'}")


def _error_of(data: bytes) -> str:
    return _value(data, "error")


def _value(data: bytes, name: str) -> str:
    """A text of a node's answer, printable and bounded; empty if there is none."""
    try:
        found = json.loads(data).get(name, "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    text = found if isinstance(found, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_TEXT_CHARS])
