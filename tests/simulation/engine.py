"""An engine that computes nothing: it loads for a while, answers on its socket, and fails as its fate says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.network import End, Stream
from tests.simulation.processes import Child
from tests.simulation.world import World

# What becomes of a child. The last three are well, or nearly.
FATES = (
    "refuses",  # ends with an error in the middle of its load
    "lacks memory",  # the same, for want of memory
    "stalls",  # its load never ends, and shows no progress
    "has odd facts",  # what it says of itself is not JSON
    "crashes",  # in the middle of an answer
    "hangs",  # in the middle of an answer, and then answers nothing
    "breaks off",  # closes the connection in the middle of an answer
    "dies idle",  # some time after its load
    "babbles",  # writes what nobody understands, and is well
    "is slow",  # takes its time to load
    "is well",
)
FAULTS = frozenset(FATES[:8])
# Of an answer, after which one that is to fail does.
_FAIL_AT = 3
TOKEN_S = 0.02


@dataclass(slots=True)
class Fate:
    """`load_s`: how long a load takes. `cling_s`: how long it lives after a SIGKILL."""

    kind: str = "is well"
    load_s: float = 0.5
    cling_s: float = 0.0
    idle_s: float = 5.0


class Engine:
    """One child. `is_loading` from its order on until it is ready or gone."""

    def __init__(self, world: World, child: Child, fate_of: Callable[[Engine], Fate]) -> None:
        self._world = world
        self._child = child
        self.pid = child.pid
        self._fate_of = fate_of
        self.fate = Fate()
        self.order: dict[str, Any] = {}
        self.is_loading = False
        self.is_killed = False
        self.has_failed = False
        self._working: list[Stream] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._streams: list[Stream] = []
        self._is_hung = False
        child.on_end = self._end

    @property
    def model(self) -> str:
        """The path of its model; empty for a spare."""
        return str(self.order.get("model", ""))

    async def main(self) -> None:
        """All of its life."""
        child = self._child
        order = json.loads(await child.line() or b"{}")
        if "spare" in order:
            order = json.loads(await child.line() or b"{}")
        if not order:
            return
        self.order = order
        self.fate = fate = self._fate_of(self)
        child.dying_s = fate.cling_s
        self.is_loading = True
        await self._load(fate)
        self._world.loop.network.listen(order["socket"], self._serve)
        self._state("ready")
        self.is_loading = False
        if fate.kind == "dies idle":
            await asyncio.sleep(fate.idle_s)
            self._fail(139)
        while not child.is_input_closed:
            await child.line()
        self._world.note(f"engine {self.name} ends with the server")

    @property
    def name(self) -> str:
        return f"{self._child.pid & 0xFFFF} of {self.model}"

    async def _load(self, fate: Fate) -> None:
        for step in range(4):
            await asyncio.sleep(fate.load_s / 4)
            if step == 2 and fate.kind == "stalls":
                self.has_failed = True
                await asyncio.Event().wait()
            if step == 2 and fate.kind in ("refuses", "lacks memory"):
                text = (
                    b"error: ggml: failed to allocate buffer"
                    if "memory" in fate.kind
                    else b"error: bad magic"
                )
                self._child.say(text + b"\n", to=2)
                self._fail(1)
            if fate.kind == "babbles":
                self._child.say(b"cmd_child_to_router:state:{]\n\xff\xfe" + b"x" * 2000 + b"\n")
                self._child.say(b"a line about nothing\n", to=2)
            self._state("loading", (step + 1) / 4)

    def _state(self, state: str, value: float = 0.0) -> None:
        event = json.dumps({"state": state, "payload": {"value": value}})
        self._child.say(f"cmd_child_to_router:state:{event}\n".encode())

    def _fail(self, code: int) -> None:
        self.has_failed = True
        self._world.note(f"engine {self.name} {self.fate.kind}")
        self._child.exit(code)
        raise asyncio.CancelledError

    def _end(self) -> None:
        self.is_loading = False
        if self.order:
            self._world.loop.network.stop_listening(self.order["socket"])
        for task in self._tasks:
            task.cancel()
        for stream in self._streams:
            stream.end.abort()

    # --- its server ---

    def _serve(self, end: End) -> None:
        stream = Stream(end)
        self._streams.append(stream)
        self._tasks.append(asyncio.ensure_future(self._converse(stream)))

    async def _converse(self, stream: Stream) -> None:
        while (request := await stream.request()) is not None:
            _, target, headers, body = request
            if self._is_hung:
                await asyncio.Event().wait()
            if target == "/completion":
                await self._complete(stream, json.loads(body))
                break
            stream.answer(200, self._answer(target, json.loads(body or b"{}")))
            if headers.get("connection") == "close":
                break
        stream.close()

    def _answer(self, target: str, body: dict[str, Any]) -> bytes:
        if target == "/props":
            if self.fate.kind == "has odd facts":
                self.has_failed = True
                return b"<html>"
            return json.dumps({"default_generation_settings": {"n_ctx": self.order["num_ctx"]}}).encode()
        if target == "/tokenize":
            return json.dumps({"tokens": _tokens(body["content"])}).encode()
        return b"[]"

    async def _complete(self, stream: Stream, body: dict[str, Any]) -> None:
        writing = asyncio.ensure_future(self._write(stream, body))
        leaving = asyncio.ensure_future(stream.gone())
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            writing.cancel()
            leaving.cancel()

    async def _write(self, stream: Stream, body: dict[str, Any]) -> None:
        """One that was given up counts until the engine has heard of it, but not for the one who gave it up."""
        self._working.append(stream)
        running = sum(not each.end.other.is_closed for each in self._working)
        slots = self.order["num_parallel"]
        self._world.check(running <= slots, "slots", lambda: f"{running} of {slots} slots of {self.name}")
        try:
            await self._stream(stream, body)
        finally:
            self._working.remove(stream)

    async def _stream(self, stream: Stream, body: dict[str, Any]) -> None:
        stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        prompt, count = body["prompt"], body["n_predict"]
        for number in range(count):
            await asyncio.sleep(TOKEN_S)
            if number == _FAIL_AT:
                await self._maybe_fail(stream)
            self._event(stream, {"content": f"{prompt[0]}.{number} ", "stop": False})
        timings = {"cache_n": 0, "prompt_n": len(prompt), "prompt_ms": 1.0}
        timings |= {"predicted_n": count, "predicted_ms": 20.0 * count}
        self._event(
            stream, {"content": "", "stop": True, "stop_type": "limit", "timings": timings, "id_slot": 0}
        )
        stream.write(b"0\r\n\r\n")

    def _event(self, stream: Stream, event: dict[str, Any]) -> None:
        """An event, now and then in two pieces."""
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        cut = self._world.chance.randrange(1, len(data)) if self._world.maybe(0.1) else len(data)
        for piece in filter(None, (data[:cut], data[cut:])):
            stream.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def _maybe_fail(self, stream: Stream) -> None:
        match self.fate.kind:
            case "crashes":
                self._child.say(b"terminate called\n", to=2)
                self._fail(134)
            case "hangs":
                self.has_failed = self._is_hung = True
                self._world.note(f"engine {self.name} hangs")
                await asyncio.Event().wait()
            case "breaks off":
                self.has_failed = True
                self._world.note(f"engine {self.name} breaks off")
                stream.close()
                await asyncio.Event().wait()


def _tokens(content: Any) -> list[int]:
    entries = content if isinstance(content, list) else [content]
    found: list[int] = []
    for entry in entries:
        found += [entry] if isinstance(entry, int) else [len(word) + 1 for word in entry.split()]
    return found
