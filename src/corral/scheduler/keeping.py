"""Has the prompts of a runner written to disk before it ends, and keeps nobody waiting for what is of no use to them.

Whoever wants another model, or this one otherwise, does not wait. Whoever goes on with what is being written gets it
back sooner than it could be computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from corral.runner.interface import Runner
from corral.scheduler.spec import LoadRequest

# How long the end of a runner may wait for it: when nobody waits, and from when on somebody does who can use it.
_KEEP_S = 10.0
_KEEP_FOR_ONE_S = 2.0


class Keeping:
    """`waiting` gives the requests that wait for a runner at the moment."""

    def __init__(self, waiting: Callable[[], Iterable[LoadRequest]]) -> None:
        self._waiting = waiting
        self._has_changed = asyncio.Event()
        self._is_over = False

    def has_arrived(self) -> None:
        """Another request waits."""
        self._has_changed.set()

    def give_up(self) -> None:
        """What is being written is given up, and nothing more is written."""
        self._is_over = True
        self._has_changed.set()

    async def keep(self, runner: Runner, origin: LoadRequest | None) -> None:
        """Write the prompts of a runner that was started for `origin`."""
        if self._is_in_the_way(origin):
            return
        keeping = asyncio.ensure_future(runner.keep_prompts(_KEEP_S))
        try:
            async with asyncio.timeout(None) as bound:
                while not keeping.done() and not self._is_in_the_way(origin):
                    if bound.when() is None and any(self._waiting()):
                        bound.reschedule(asyncio.get_running_loop().time() + _KEEP_FOR_ONE_S)
                    await self._change_or(keeping)
        except TimeoutError:
            pass
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _change_or(self, keeping: asyncio.Future[None]) -> None:
        self._has_changed.clear()
        change = asyncio.ensure_future(self._has_changed.wait())
        try:
            await asyncio.wait((keeping, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()

    def _is_in_the_way(self, origin: LoadRequest | None) -> bool:
        return self._is_over or any(request != origin for request in self._waiting())
