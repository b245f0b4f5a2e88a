"""Questions over connections that stay open: reused, given up, asked again where the engine had closed one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corral.runner.engine_channel import EngineChannel


class Engine:
    """Answers with the body it got. `closes`: says nothing more on a connection after this many answers."""

    def __init__(self, path: Path, closes: int = 1000) -> None:
        self.path = str(path / "e.sock")
        self.closes = closes
        self.connections = 0
        self.asked: list[bytes] = []
        self.left = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.is_slow = False
        self.cuts_short = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        count = 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while count < self.closes:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                body = await reader.readexactly(size)
                self.asked.append(body)
                count += 1
                if self.is_slow:
                    await reader.read(1)
                    break
                sent = body[:-1] if self.cuts_short else body
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, sent))
                if self.cuts_short:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.left.set()


def play(path: Path, test: Callable[[Engine, EngineChannel], Awaitable[None]], closes: int = 1000) -> None:
    async def main() -> None:
        engine = Engine(path, closes)
        server = await asyncio.start_unix_server(engine.serve, engine.path)
        channel = EngineChannel(engine.path, "key")
        try:
            await test(engine, channel)
        finally:
            channel.close()
            server.close()
            await asyncio.gather(*engine.tasks)
            await server.wait_closed()

    asyncio.run(main())


def test_one_connection_for_many_questions(tmp_path: Path) -> None:
    async def test(engine: Engine, channel: EngineChannel) -> None:
        for body in (b"a", b"", b"c" * 300_000):
            assert await channel.post("/x", body) == (200, body)
        assert engine.connections == 1

    play(tmp_path, test)


def test_many_at_a_time(tmp_path: Path) -> None:
    """Each gets its own answer; only some connections stay open."""

    async def test(engine: Engine, channel: EngineChannel) -> None:
        bodies = [b"%d" % i for i in range(20)]
        answers = await asyncio.gather(*(channel.post("/x", body) for body in bodies))
        assert [answer for _, answer in answers] == bodies
        assert len(channel._idle) <= 3

    play(tmp_path, test)


def test_the_engine_closed_an_idle_connection(tmp_path: Path) -> None:
    """Whether we know of it already or not, the question gets its answer."""

    async def test(engine: Engine, channel: EngineChannel) -> None:
        assert await channel.post("/x", b"a") == (200, b"a")
        await engine.left.wait()
        # The end of the connection has not been seen yet.
        assert channel._idle[0].is_open
        assert await channel.post("/x", b"b") == (200, b"b")
        await asyncio.sleep(0.01)
        assert await channel.post("/x", b"c") == (200, b"c")
        assert engine.asked == [b"a", b"b", b"c"]

    play(tmp_path, test, closes=1)


def test_who_leaves_closes_the_connection(tmp_path: Path) -> None:
    """That is how the engine learns of it; the next question has another one."""

    async def test(engine: Engine, channel: EngineChannel) -> None:
        engine.is_slow = True
        question = asyncio.ensure_future(channel.post("/x", b"long"))
        while not engine.asked:
            await asyncio.sleep(0)
        question.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await question
        await asyncio.wait_for(engine.left.wait(), 30)
        engine.is_slow = False
        assert await channel.post("/x", b"b") == (200, b"b")
        assert engine.connections == 2

    play(tmp_path, test)


def test_an_answer_that_is_cut_short(tmp_path: Path) -> None:
    async def test(engine: Engine, channel: EngineChannel) -> None:
        engine.cuts_short = True
        with pytest.raises(ConnectionError):
            await channel.post("/x", b"abc")

    play(tmp_path, test)


def test_nobody_listens(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await EngineChannel(str(tmp_path / "none.sock"), "key").post("/x", b"")

    asyncio.run(main())
