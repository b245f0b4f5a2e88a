"""What a plan does at another node, over HTTP: what is asked, and how its answers are understood."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from corral import hops
from corral.cluster.membership import Member
from corral.cluster.peers import hands
from corral.cluster.peers.hands import NodeHands
from corral.cluster.peers.peer import Peer
from corral.cluster.peers.peers import Peers
from corral.cluster.peers.wire import NodeClient
from corral.errors import CorralError, NodeError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
M = "registry.ollama.ai/library/m:latest"


class Here:
    """This node, which notes what it is asked."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    async def fetch(self, model: str) -> None:
        self.done.append(("fetch", model))

    async def load(self, model: str, keep_alive_s: int) -> None:
        self.done.append(("load", model, str(keep_alive_s)))

    async def unload(self, model: str) -> None:
        self.done.append(("unload", model))


def peer_at(url: str) -> Peer:
    """A node that nobody listens to."""
    member = Member(url)
    return Peer(
        member,
        NodeClient(member, None),
        lambda: "secret",
        heard=lambda _peer, _state: "",
        lost=lambda _peer: None,
        is_me=lambda _epoch: False,
    )


class World:
    """A node `b` that answers with `answers` in turn: status and body, or None to break off after its head."""

    name = "a"

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes | None]] = []
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.here = Here()
        self.peer: Peer | None = None

    def named(self, name: str) -> Peer | None:
        return self.peer if name == "b" else None

    @property
    def hands(self) -> NodeHands:
        return NodeHands(cast("Peers", self), self.here)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.asked.append((head[0].split()[1], headers, body))
        status, answer = self.answers.pop(0)
        size = len(answer) if answer is not None else 100
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, size) + (answer or b""))
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def open(self, serve: Serve | None = None) -> AsyncIterator[None]:
        server = await asyncio.start_server(serve or self.serve, "127.0.0.1", 0)
        self.peer = peer_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            yield
        finally:
            self.peer.close()
            server.close()


def play(work: Callable[[World], Awaitable[None]]) -> World:
    world = World()

    async def main() -> None:
        async with asyncio.timeout(60), world.open():
            await work(world)
            assert world.peer is not None
            assert not world.peer.running

    asyncio.run(main())
    return world


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_here_nothing_is_sent() -> None:
    async def work(world: World) -> None:
        await world.hands.fetch("a", M)
        await world.hands.load("a", M, 600)
        await world.hands.unload("a", M)

    world = play(work)
    assert world.here.done == [("fetch", M), ("load", M, "600"), ("unload", M)]
    assert world.asked == []


def test_there_requests_carry_the_key_and_make_one_hop() -> None:
    async def work(world: World) -> None:
        world.answers = [
            (200, lines({"status": "pulling manifest"}, {"status": "success"})),
            (200, b"{}"),
            (200, b"{}"),
        ]
        await world.hands.fetch("b", M)
        await world.hands.load("b", M, 600)
        await world.hands.unload("b", M)

    world = play(work)
    assert [(path, body) for path, _, body in world.asked] == [
        ("/api/pull", {"model": M}),
        ("/api/generate", {"model": M, "keep_alive": "600s", "stream": False}),
        ("/api/generate", {"model": M, "keep_alive": 0, "stream": False}),
    ]
    for _, headers, _ in world.asked:
        assert headers["authorization"] == "bearer secret"
        hop = hops.parse(headers["x-corral-hop"])
        assert hop.caller.gateway == "a"
        assert {"manage", "infer"} <= hop.caller.scopes
        assert "cluster" not in hop.caller.scopes


def test_a_model_that_makes_vectors() -> None:
    async def work(world: World) -> None:
        world.answers = [(400, b'{"error":"\\"m\\" does not support generate"}'), (200, b"{}")]
        await world.hands.load("b", M, 600)
        world.answers = [(400, b"{}"), (200, b"{}")]
        await world.hands.unload("b", M)

    world = play(work)
    assert [(path, body.get("input"), body["keep_alive"]) for path, _, body in world.asked] == [
        ("/api/generate", None, "600s"),
        ("/api/embed", "", "600s"),
        ("/api/generate", None, 0),
        ("/api/embed", "", 0),
    ]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((200, lines({"status": "pulling manifest"}, {"error": "no space left on device"})), "no space left"),
        ((200, lines({"status": "pulling manifest"})), "the pull ended too early"),
        ((200, b""), "the pull ended too early"),
        ((200, b"[1,2]\n"), "the pull ended too early"),
        ((200, b'{"status":5}'), "the pull ended too early"),
        ((403, b'{"error":"not with this key\\u001b[0m"}'), "not with this key \\[0m"),
        ((500, b"<html>"), "status 500"),
        ((200, None), "broke off"),
    ],
)
def test_a_pull_that_fails(answer: tuple[int, bytes | None], text: str) -> None:
    async def work(world: World) -> None:
        world.answers = [answer]
        with pytest.raises(CorralError, match=text):
            await world.hands.fetch("b", M)

    play(work)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            (500, b'{"error":"model requires more system memory"}'),
            "node b: model requires more system memory",
        ),
        ((503, b"busy"), "node b: status 503"),
        ((200, None), "broke off"),
    ],
)
def test_a_load_that_fails(answer: tuple[int, bytes | None], text: str) -> None:
    async def work(world: World) -> None:
        world.answers = [answer]
        with pytest.raises(NodeError, match=text):
            await world.hands.load("b", M, 600)

    play(work)


def test_a_node_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not forever; and one that is not heard is not asked."""
    monkeypatch.setattr(hands, "_SILENCE_S", 0.05)
    monkeypatch.setattr(hands, "_LOAD_S", 0.05)
    ended = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async def work(world: World) -> None:
        async with world.open(silent):
            with pytest.raises(NodeError, match="says nothing of its pull"):
                await world.hands.fetch("b", M)
            with pytest.raises(NodeError, match="does not answer in time"):
                await world.hands.load("b", M, 600)
            ended.set()
        with pytest.raises(NodeError, match="node c is not heard"):
            await world.hands.unload("c", M)

    play(work)
