"""The client of other servers against servers that are not well: nothing grows, and nothing is believed too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from corral.cluster.membership import Member
from corral.cluster.peers.wire import NodeClient
from corral.errors import NodeError

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"


def talk(
    answers: list[bytes], use: Callable[[NodeClient], Coroutine[Any, Any, None]], *, ends: bool = False
) -> int:
    """Run `use` against a server that answers each request with the next bytes; how many connections it made."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answers.pop(0))
                await writer.drain()
                if ends:
                    break
            if not ends:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = NodeClient(Member(f"http://127.0.0.1:{port}"), None)
        try:
            async with asyncio.timeout(60):
                await use(client)
        finally:
            client.close()
            server.close()
            await asyncio.sleep(0.01)

    asyncio.run(run())
    return connections


async def get(client: NodeClient, limit: int = 1 << 20) -> bytes:
    answer = await client.send("GET", b"/", [])
    try:
        await answer.wait_head()
        return await answer.read(limit)
    finally:
        client.release(answer)


def test_a_connection_is_used_again() -> None:
    async def use(client: NodeClient) -> None:
        assert [await get(client) for _ in range(3)] == [b"ok"] * 3

    assert talk([_OK] * 3, use) == 1


def test_interim_answers_and_trailers() -> None:
    async def use(client: NodeClient) -> None:
        answer = await client.send("POST", b"/", [], b"body")
        assert await answer.acknowledged is True
        await answer.wait_head()
        assert answer.status == 200
        assert await answer.read(100) == b"abc"
        assert (b"x-corral-usage", b"{}") in answer.trailers
        client.release(answer)

    talk(
        [b"HTTP/1.1 102 Processing\r\n\r\n" + _CHUNKED + b"3\r\nabc\r\n0\r\nX-Corral-Usage: {}\r\n\r\n"], use
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01" + b"\0" * 100,
        _HEAD + b"x: " + b"a" * (1 << 20),
        _HEAD + b"x: y\r\n" * 201 + b"\r\n",
        _HEAD + b"\r\n".join(b"x%d: y" % i for i in range(300)) + b"\r\n\r\n",
        _CHUNKED + b"zz\r\n",
        _CHUNKED + b"3\r\nabc\r\n0\r\nx: " + b"a" * (1 << 20),
        _CHUNKED + b"3;" + b"x" * (1 << 20),
        _HEAD + b"content-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"",
    ],
    ids=range(11),
)
def test_what_is_no_answer(answer: bytes) -> None:
    async def use(client: NodeClient) -> None:
        with pytest.raises(NodeError):
            await get(client)

    talk([answer], use, ends=True)


def test_a_body_beyond_its_bound() -> None:
    async def use(client: NodeClient) -> None:
        with pytest.raises(NodeError, match="larger than"):
            await get(client, 1000)

    talk([_HEAD + b"content-length: 2000\r\n\r\n" + b"x" * 2000], use)


def test_bytes_that_nobody_asked_for_end_a_connection() -> None:
    """A second answer to one request must not become the answer to the next one."""

    async def use(client: NodeClient) -> None:
        assert await get(client) == b"ok"
        assert await get(client) == b"right"

    wrong, right = _OK.replace(b"ok", b"no"), _OK.replace(b"2\r", b"5\r").replace(b"ok", b"right")
    assert talk([_OK + wrong, right], use) == 2


def test_nobody_listens() -> None:
    async def use(client: NodeClient) -> None:
        other = NodeClient(Member("http://127.0.0.1:1"), None)
        with pytest.raises(NodeError, match="cannot be reached"):
            await get(other)

    talk([], use)


def test_a_slow_reader_pauses_the_node() -> None:
    """What is not read yet is bounded: the rest waits in the kernel and at the node."""

    async def use(client: NodeClient) -> None:
        answer = await client.send("GET", b"/", [])
        await answer.wait_head()
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert answer._held_bytes <= 1 << 20
        total = 0
        while data := await answer.next_bytes():
            total += len(data)
        assert total == 16 << 20
        client.release(answer)

    talk([_HEAD + b"content-length: %d\r\n\r\n" % (16 << 20) + b"x" * (16 << 20)], use)
