"""How many transfers may hold threads at a time, so that registries that never answer cannot exhaust the machine.

Each host has a few slots, and all hosts together have more: a host that hangs delays only its own transfers. For the
event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from corral.errors import RegistryUnavailableError
from corral.threads import run_in_thread

_MAX_WAITING = 1024
_Result = TypeVar("_Result")


class HostSlots:
    """Hands out slots in the order in which they are asked for, for each host."""

    def __init__(self, *, per_host: int = 8, in_all: int = 64) -> None:
        self._per_host = per_host
        self._in_all = in_all
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    async def run(self, host: str, function: Callable[[], _Result], *, cancel: Callable[[], None]) -> _Result:
        """`run_in_thread` with a slot, which is held until the thread has ended, even if the caller has left.

        Raises:
            RegistryUnavailableError: too many are waiting already; and whatever `function` raises.
        """
        await self._acquire(host)
        loop = asyncio.get_running_loop()

        has_begun = False

        def work() -> _Result:
            nonlocal has_begun
            has_begun = True
            try:
                return function()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._release, host)

        try:
            return await run_in_thread(work, cancel=cancel)
        except RuntimeError:
            if not has_begun:  # no further thread could be started
                self._release(host)
            raise

    async def _acquire(self, host: str) -> None:
        if self._is_free(host) and not any(other == host for other, _ in self._waiting):
            self._held[host] += 1
        else:
            await self._wait(host)

    def _is_free(self, host: str) -> bool:
        return self._held[host] < self._per_host and self._held.total() < self._in_all

    async def _wait(self, host: str) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            raise RegistryUnavailableError(
                f"too many transfers with {host} are waiting", hint="try again when some of them have ended"
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (host, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(host)  # it got its slot at the same moment
            elif entry in self._waiting:
                self._waiting.remove(entry)
            raise

    def _release(self, host: str) -> None:
        self._held[host] -= 1
        if not self._held[host]:
            del self._held[host]
        for entry in list(self._waiting):
            waiting_host, turn = entry
            if turn.done():  # it is leaving and has not seen it yet
                self._waiting.remove(entry)
            elif self._is_free(waiting_host):
                self._waiting.remove(entry)
                self._held[waiting_host] += 1
                turn.set_result(None)
