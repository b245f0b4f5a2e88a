"""One other server: the connection on which it says how it is, and the requests that wait for it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from enum import StrEnum

from corral.cluster.membership import Member
from corral.cluster.peers.wire import Answer, Headers, NodeClient
from corral.cluster.state import MAX_LINE_BYTES, NodeState, StateError, parse_line
from corral.errors import NodeError

# Nodes speak each 0.5 s. One that is silent for this long gets nothing new, and what waits for it goes elsewhere.
SILENCE_S = 1.2
# After this, what it was in the middle of ends.
GONE_S = 10.0
_HEAD_S = 3.0
_MIN_PAUSE_S, _MAX_PAUSE_S = 0.05, 2.0
# The other side bounds wrong keys by the minute.
_REFUSED_PAUSE_S = 10.0
_MAX_ERROR_BYTES = 4096
_MAX_PROBLEM_CHARS = 300
WATCH = b"/api/cluster/watch"


class Standing(StrEnum):
    """How it stands with a member."""

    CONNECTING = "connecting"
    HEARD = "heard"
    SILENT = "silent"
    REFUSED = "refused"
    SELF = "self"


class Peer:
    """Watches one member until it is cancelled. Belongs to the event loop.

    `heard` gets each state; `lost` is called when it is not heard any more. `is_me` knows this server's own epoch.
    `problem`: why it is not heard, for people.
    """

    def __init__(
        self,
        member: Member,
        client: NodeClient,
        key: Callable[[], str],
        *,
        heard: Callable[[Peer, NodeState], str],
        lost: Callable[[Peer], None],
        is_me: Callable[[str], bool],
    ) -> None:
        self.member = member
        self.client = client
        self.standing = Standing.CONNECTING
        self.problem = self.last_problem = ""
        self.state: NodeState | None = None
        self.heard_s = 0.0
        self.skew_s = 0.0
        # Requests that wait for their first byte there, and those that are in the middle of their answer.
        self.waiting: set[Answer] = set()
        self.running: set[Answer] = set()
        self._key = key
        self._shown: tuple[str, Headers] = ("", [])
        self._heard = heard
        self._lost = lost
        self._is_me = is_me
        self._listening: Answer | None = None
        self._gone_timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """By which it calls itself; empty as long as it was not heard."""
        return self.state.name if self.state is not None else ""

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes = b"",
        *,
        timeout_s: float,
        limit_bytes: int,
        is_fresh: bool = False,
    ) -> tuple[Answer, bytes]:
        """A whole answer, and its body; the node stops working on it when this is cancelled or the time is up.

        Raises:
            NodeError: there is none in time, or it is larger than the limit.
        """
        try:
            async with asyncio.timeout(timeout_s):
                sent = [*headers, *self.headers()]
                answer = await self.client.send(method, target, sent, body, is_fresh=is_fresh)
                self.running.add(answer)
                try:
                    await answer.wait_head()
                    return answer, await answer.read(limit_bytes)
                finally:
                    self.running.discard(answer)
                    self.client.release(answer)
        except TimeoutError:
            self.doubt()
            raise NodeError("it does not answer in time") from None

    def headers(self) -> Headers:
        """What shows the node that this server is one of the cluster."""
        key = self._key()
        if key != self._shown[0]:
            self._shown = (key, [(b"authorization", b"Bearer " + key.encode("ascii"))])
        return self._shown[1]

    def doubt(self) -> None:
        """A request got no sign of life: look at once whether the node is still there, both ways."""
        if self._listening is not None:
            self._listening.abort()

    async def run(self) -> None:
        """Listen, and listen again. Cancelled at the end."""
        pause_s = _MIN_PAUSE_S
        try:
            while True:
                before_s = self.heard_s
                try:
                    await self._listen()
                except (NodeError, StateError) as exc:
                    self._fail(str(exc))
                has_worked = self.heard_s > before_s
                pause_s = _MIN_PAUSE_S if has_worked else min(pause_s * 2, _MAX_PAUSE_S)
                if self.standing in (Standing.REFUSED, Standing.SELF):
                    pause_s = _REFUSED_PAUSE_S
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
        finally:
            self._stop_waiting()
            self.close()

    def close(self) -> None:
        """End what is under way there."""
        if self._gone_timer is not None:
            self._gone_timer.cancel()
        for answer in list(self.running):
            answer.abort()
        self.client.close()

    async def _listen(self) -> None:
        """Raises NodeError, StateError."""
        accept = (b"accept", b"application/x-ndjson")
        answer = await self.client.send("GET", WATCH, [*self.headers(), accept], is_fresh=True)
        self._listening = answer
        try:
            async with asyncio.timeout(_HEAD_S):
                await answer.wait_head()
                if answer.status != 200:
                    await self._refused(answer)
                    return
            await self._read(answer)
        except TimeoutError:
            raise NodeError("it does not answer") from None
        finally:
            self._listening = None
            answer.abort()

    async def _read(self, answer: Answer) -> None:
        rest = b""
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    data = await answer.next_bytes()
            except TimeoutError:
                raise NodeError("it says nothing") from None
            if not data:
                raise NodeError("it has ended the connection")
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise StateError("a node sent a line without an end")
            for line in lines:
                self._take(line)
            if self.standing in (Standing.SELF, Standing.REFUSED):
                return

    def _take(self, line: bytes) -> None:
        state = parse_line(line, self.state)
        if self._is_me(state.epoch):
            self.standing, self.problem, self.state = Standing.SELF, "", None
            return
        self.heard_s = asyncio.get_running_loop().time()
        self.skew_s = state.clock_s - time.time()
        self.state = state
        if problem := self._heard(self, state):
            self.standing, self.problem = Standing.REFUSED, problem
            return
        self.standing, self.problem = Standing.HEARD, ""
        if self._gone_timer is not None:
            self._gone_timer.cancel()
            self._gone_timer = None

    async def _refused(self, answer: Answer) -> None:
        body = (await answer.read(_MAX_ERROR_BYTES)).decode("utf-8", "replace")
        if answer.status in (401, 403, 429):
            self.problem = "it refuses the cluster key"
        elif answer.status == 404:
            self.problem = "it is not in peers mode (CORRAL_CLUSTER_MODE)"
        else:
            self.problem = f"it answered {answer.status}: {_printable(body)}"
        self._lose()
        self.standing = Standing.REFUSED

    def _fail(self, problem: str) -> None:
        self.problem = _printable(problem)
        if self.standing is not Standing.REFUSED or self.state is not None:
            self.standing = Standing.SILENT
        self._lose()

    def _lose(self) -> None:
        self._lost(self)
        self._stop_waiting()
        if self.running and self._gone_timer is None:
            self._gone_timer = asyncio.get_running_loop().call_later(GONE_S, self._give_up)

    def _stop_waiting(self) -> None:
        """Whatever has no byte yet can go elsewhere."""
        for answer in list(self.waiting):
            answer.abort()

    def _give_up(self) -> None:
        self._gone_timer = None
        for answer in list(self.running):
            answer.abort()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_PROBLEM_CHARS]).strip()
