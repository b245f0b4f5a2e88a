"""The phases of a run: the warm-up, a quiet look, the time that counts, another quiet look."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bench.soak.clients import BURSTS, Client
from bench.soak.processes import Look
from bench.soak.run import Run
from bench.soak.server import RESPONSES_BYTES, Server

_SAMPLE_S = 5.0
_SAMPLES_OF_A_LINE = 12
# What has to be full before the time counts; see above.
_EVENTS = 500
_NAMES = 4096
_RESPONSE_BYTES = 1 << 10
_CONVERSATIONS = 1000
_BURSTS_OF_A_KIND = 20
_WARM_LIMIT_S = 1800.0
# Descriptors are counted when they have been the same for so many looks.
_QUIET_LOOKS = 20
_QUIET_LOOK_S = 0.5
_QUIET_LIMIT_S = 120.0


class Load:
    """Clients that send requests at a rate, in phases."""

    def __init__(self, server: Server, run: Run, arguments: argparse.Namespace) -> None:
        self._server = server
        self._run = run
        self._pause_s = arguments.clients / arguments.rate
        self._minutes = arguments.minutes
        self._warm_s = arguments.warm_minutes * 60
        self._began_s = time.monotonic()
        self._clients = [
            Client(server, run, random.Random(f"{arguments.seed} {number}"), number)
            for number in range(arguments.clients)
        ]

    async def go(self) -> None:
        await asyncio.gather(*(self._ask_unknown(client) for client in self._clients))
        self._say("all names were asked for")
        await self._send_bursts()
        self._say("all clients have sent the same at once")
        await self._until(self._is_warm, is_warming=True)
        self._say(f"warm after {time.monotonic() - self._began_s:.0f} s, {dict(self._run.kinds)}")
        await self._be_quiet()
        end_s = time.monotonic() + self._minutes * 60
        await self._until(lambda: time.monotonic() >= end_s, is_warming=False)
        await self._be_quiet()

    async def _ask_unknown(self, client: Client) -> None:
        for _ in range(-(-_NAMES // len(self._clients))):
            await self._kept(client, client.ask_unknown())

    async def _send_bursts(self) -> None:
        for number in range(BURSTS * _BURSTS_OF_A_KIND):
            sent = (self._kept(client, client.burst(number % BURSTS)) for client in self._clients)
            await asyncio.gather(*sent)

    async def _until(self, is_over: Callable[[], bool], *, is_warming: bool) -> None:
        pause_s = 0.0 if is_warming else self._pause_s

        async def send(client: Client) -> None:
            while not done.is_set():
                began_s = time.monotonic()
                await self._kept(client, client.one(is_warming=is_warming))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), max(pause_s - (time.monotonic() - began_s), 0.001))

        async def watch() -> None:
            while not self._run.is_over and not await asyncio.to_thread(is_over):
                look = await asyncio.to_thread(self._server.look)
                if next(number) % _SAMPLES_OF_A_LINE == 0:
                    self._say(_line(look, self._server.process.pid))
                if not is_warming:
                    self._run.looks.append(look)
                for path in ("/metrics", "/api/ps", "/api/top", "/api/usage?by=key,model"):
                    await asyncio.to_thread(self._server.ask, path)
                await asyncio.sleep(_SAMPLE_S)
            done.set()

        done, number = asyncio.Event(), itertools.count()
        await asyncio.gather(watch(), *map(send, self._clients))

    async def _kept(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as exc:
            self._run.wrong.append(f"{client.name}: {exc!r}")

    def _is_warm(self) -> bool:
        kinds, now_s = self._run.kinds, time.monotonic()
        if now_s > self._began_s + _WARM_LIMIT_S:
            self._run.wrong.append(f"the warm-up did not fill what has bounds: {dict(kinds)}")
            return True
        return (
            now_s > self._began_s + self._warm_s
            and kinds["_openai"] + kinds["_anthropic"] + kinds["_completions"] > _CONVERSATIONS
            and kinds["_responses"] > RESPONSES_BYTES // _RESPONSE_BYTES
            and self._server.event_count() > _EVENTS
        )

    async def _be_quiet(self) -> None:
        """Load every model, wait until nothing runs and nothing changes, and look."""
        await self._kept(self._clients[0], self._clients[0].load_all())
        end_s = time.monotonic() + _QUIET_LIMIT_S
        looks: list[Look] = []
        while time.monotonic() < end_s and not (self._run.is_settled() and _is_steady(looks)):
            await asyncio.to_thread(time.sleep, _QUIET_LOOK_S)
            looks.append(self._server.look())
        self._run.quiet.append(looks[-1])
        self._say(f"quiet: {_line(looks[-1], self._server.process.pid)}")

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {len(self._run.seen)} requests, {text}", flush=True)


def _is_steady(looks: list[Look]) -> bool:
    """Whether the last looks found the same processes with the same descriptors."""
    if len(looks) < _QUIET_LOOKS:
        return False
    found = [{pid: held.files for pid, held in look.items()} for look in looks[-_QUIET_LOOKS:]]
    return all(each == found[0] for each in found)


def _line(look: Look, root: int) -> str:
    """All processes in one line, the server first."""
    return ", ".join(
        f"{'server' if pid == root else pid} {held.rss >> 10} KiB {held.file_count} files {held.threads} threads"
        for pid, held in look.items()
    )
