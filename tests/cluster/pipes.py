"""Pipes between servers: the network of a cluster in this process, with delay, loss of one direction, and cuts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

_PIECE_BYTES = 64 << 10


class Network:
    """An event loop in a thread of its own, on which all pipes run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._pipes: list[Pipe] = []

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        found: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return found.result(60)

    def pipe(self) -> Pipe:
        pipe = Pipe(self)
        self.run(pipe.start())
        self._pipes.append(pipe)
        return pipe

    def close(self) -> None:
        async def end() -> None:
            for pipe in self._pipes:
                pipe.stop()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


class Pipe:
    """Listens on `port` and passes on to `target`, which may become known later.

    `is_up`: bytes towards the server go on; `is_down`: those that come back. `is_cut`: there are no connections.
    `connections` counts those that were made.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self.target = 0
        self.port = 0
        self.delay_s = 0.0
        self.is_up = self.is_down = True
        self.is_cut = False
        self.connections = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, *, up: bool = True, down: bool = True, cut: bool = False, delay_s: float = 0.0) -> None:
        """Change how the pipe works, at once, also for open connections."""

        async def change() -> None:
            self.is_up, self.is_down, self.is_cut, self.delay_s = up, down, cut, delay_s
            if cut:
                for writer in list(self._writers):
                    writer.transport.abort()
            self._changed.set()
            self._changed = asyncio.Event()

        self._network.run(change())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_cut or not self.target:
            writer.transport.abort()
            return
        other: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            other_reader, other = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(other)
            ways = [
                asyncio.ensure_future(self._pass(reader, other, "is_up")),
                asyncio.ensure_future(self._pass(other_reader, writer, "is_down")),
            ]
            _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
        except OSError:
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    with contextlib.suppress(Exception):
                        each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                while not getattr(self, way):
                    await self._changed.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
