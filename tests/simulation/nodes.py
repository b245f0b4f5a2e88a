"""Servers of a cluster that compute nothing: they say how they are, answer, and fail."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from corral.cluster.state import NodeState, line_of
from corral.cluster.view import LoadedModel
from tests.simulation.network import End, Stream
from tests.simulation.world import World

MODEL = "registry.ollama.ai/library/m:latest"
DIGEST = "d" * 64
_SPEAK_S = 0.5
_TOKEN_S = 0.03
# What a node may answer in place of a text, and what it says of the reason.
REFUSALS = {
    503: ("QueueFullError", b'{"error":"too many requests wait"}'),
    500: ("RunnerExitedError", b'{"error":"the engine stopped"}'),
    429: ("RateLimitError", b'{"error":"slower"}'),
    404: ("ModelNotFoundError", b'{"error":"model not found"}'),
    502: ("", b"a proxy found nobody"),
}


@dataclass
class Node:
    """`rate`: the share of requests that it refuses or breaks off. `log`: ids of the requests that it got."""

    world: World
    name: str
    address: str
    rate: float = 0.0
    slots: int = 2
    is_up: bool = False
    is_draining: bool = False
    epoch: int = 0
    running: int = 0
    waiting: int = 0
    log: list[str] = field(default_factory=list)
    _streams: list[Stream] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self.is_up, self.is_draining = True, False
        self.epoch += 1
        self.running = self.waiting = 0
        self.world.loop.network.listen(self.address, self._serve)

    def die(self) -> None:
        """All of its connections break."""
        self.is_up = False
        self.world.loop.network.stop_listening(self.address)
        for task in self._tasks:
            task.cancel()
        for stream in self._streams:
            stream.end.abort()
        self._tasks.clear()
        self._streams.clear()

    def state(self) -> NodeState:
        loaded = LoadedModel(DIGEST, self.slots, self.running, self.waiting)
        return NodeState(
            name=self.name,
            epoch=f"{self.epoch:016x}",
            version="1",
            clock_s=self.world.loop.wall_s(),
            is_draining=self.is_draining,
            models={MODEL: DIGEST},
            loaded={DIGEST: loaded},
        )

    def _serve(self, end: End) -> None:
        stream = Stream(end)
        self._streams.append(stream)
        self._tasks.append(asyncio.ensure_future(self._converse(stream)))

    async def _converse(self, stream: Stream) -> None:
        while (request := await stream.request()) is not None:
            _, target, headers, body = request
            if target == "/api/cluster/watch":
                await self._speak(stream)
                break
            if not await self._work(stream, headers["x-request-id"], body):
                break
        stream.close()
        self._streams.remove(stream)

    async def _speak(self, stream: Stream) -> None:
        stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stream.is_gone:
            line = line_of(self.state(), has_models=True)
            stream.write(b"%x\r\n%b\r\n" % (len(line), line))
            await asyncio.sleep(_SPEAK_S)

    async def _work(self, stream: Stream, number: str, body: bytes) -> bool:
        """Answer one request; whether the connection can be used again."""
        world = self.world
        world.note(f"{self.name} gets {number}")
        self.log.append(number)
        self.on_request(number, stream)
        answering = asyncio.ensure_future(self._answer(stream, number, is_whole=b'"stream":false' in body))
        leaving = asyncio.ensure_future(stream.gone())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            return answering.done() and answering.result()
        finally:
            answering.cancel()
            leaving.cancel()

    def on_request(self, number: str, stream: Stream) -> None:
        """The world looks at it."""

    async def _answer(self, stream: Stream, number: str, *, is_whole: bool) -> bool:
        chance = self.world.chance
        fails = self.world.maybe(self.rate)
        if fails and self.world.maybe(0.2):
            await asyncio.Event().wait()  # not even a sign that it has the request
        await asyncio.sleep(0.005)
        stream.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        self.waiting += 1
        while self.running >= self.slots:
            await asyncio.sleep(0.02)
        self.waiting -= 1
        self.running += 1
        try:
            await asyncio.sleep(chance.uniform(0.01, 0.4))
            if fails and self.world.maybe(0.7):
                return self._refuse(stream, number)
            count = chance.randint(1, 12)
            return await self._tell(stream, number, count, count // 2 if fails else -1, is_whole=is_whole)
        finally:
            self.running -= 1

    def _refuse(self, stream: Stream, number: str) -> bool:
        status = self.world.chance.choice(sorted(REFUSALS))
        error, body = REFUSALS[status]
        self.world.note(f"{self.name} answers {number} with {status}")
        usage = f"X-Corral-Usage: {json.dumps({'error': error})}\r\n" if error else ""
        stream.answer(status, body, usage)
        return True

    async def _tell(self, stream: Stream, number: str, count: int, breaks_at: int, *, is_whole: bool) -> bool:
        lines = [json.dumps({"who": self.name, "to": number, "n": n}).encode() + b"\n" for n in range(count)]
        lines[-1] = (
            json.dumps({"who": self.name, "to": number, "n": count - 1, "done": True}).encode() + b"\n"
        )
        usage = json.dumps({"prompt": 3, "tokens": count})
        if is_whole:
            body = b"".join(lines)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n" % len(
                body
            )
            stream.write(head + f"X-Corral-Usage: {usage}\r\n\r\n".encode())
        else:
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n")
            stream.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for n, line in enumerate(lines):
            if n == breaks_at:
                self.world.note(f"{self.name} breaks off {number}")
                stream.end.abort()
                return False
            stream.write(line if is_whole else b"%x\r\n%b\r\n" % (len(line), line))
            await asyncio.sleep(_TOKEN_S)
        if not is_whole:
            stream.write(b"0\r\nX-Corral-Usage: %b\r\n\r\n" % usage.encode())
        return True
