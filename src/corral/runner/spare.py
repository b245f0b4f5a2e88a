"""A spare engine child: it has imported the engine and waits for a start order, so that a load begins sooner.

There is at most one, made when nothing else is to do, and none while memory is short. It is never a model: whoever
loads one takes it, gives it the order, and from then on it is like any other child.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

from corral.errors import RunnerStartError
from corral.runner.interface import EngineChoice
from corral.runner.process import EngineProcess
from corral.supervise import log_failure

_log = logging.getLogger("corral.runner")
_GIB = 1 << 30
_LEAST_TOTAL_BYTES = 4 * _GIB
_LEAST_FREE_BYTES = _GIB
# A request that follows at once must not share the processor with the start of a spare.
_PAUSE_S = 1.0
_LOOK_S = 30.0

Memory = Callable[[], tuple[int, int]]


def memory_is_short(memory: tuple[int, int], *, is_wanted: bool = False) -> bool:
    """Whether a spare is too much for a machine, by its total and free bytes (0: unknown).

    `is_wanted`: the machine may be small, as somebody has asked for a spare.
    """
    total, free = memory
    is_small = total < _LEAST_TOTAL_BYTES and not is_wanted
    return is_small or free < _LEAST_FREE_BYTES


class Spare:
    """Keeps a spare for one engine in the context of `kept`. `read_memory` gives the total and the free bytes.

    `wanted`: see the setting CORRAL_SPARE_ENGINE; None is automatic. `look_s`: how often the memory is looked at.
    """

    def __init__(
        self,
        engine: EngineChoice,
        read_memory: Memory,
        *,
        wanted: bool | None = None,
        look_s: float = _LOOK_S,
    ) -> None:
        self._look_s = look_s
        self._engine = engine
        self._read_memory = read_memory
        self._wanted = wanted
        self._process: EngineProcess | None = None
        self._is_missing = asyncio.Event()
        self._is_missing.set()

    @property
    def pid(self) -> int | None:
        """The process that waits, if there is one."""
        return self._process.pid if self._process is not None else None

    def take(self, engine: EngineChoice, environment: Mapping[str, str]) -> EngineProcess | None:
        """The spare, if it can become a child of this engine with this environment; the caller owns it then."""
        process = self._process
        if process is None or engine != self._engine or process.environment != environment:
            return None
        self._process = None
        self._is_missing.set()
        return None if process.exited.done() else process

    @contextlib.asynccontextmanager
    async def kept(self, is_idle: Callable[[], bool]) -> AsyncIterator[None]:
        """Have a spare whenever there is room and `is_idle` says that nothing else is to do."""
        keeping = asyncio.create_task(self._keep(is_idle), name="spare")
        keeping.add_done_callback(log_failure)
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self._discard()

    async def _keep(self, is_idle: Callable[[], bool]) -> None:
        is_of_use = self._engine.server_path is None  # a binary imports nothing
        while is_of_use and self._wanted is not False:
            await self._look(is_idle)

    async def _look(self, is_idle: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._look_s):
                await self._is_missing.wait()
        if self._process is None:
            await asyncio.sleep(_PAUSE_S)
        is_short = memory_is_short(await asyncio.to_thread(self._read_memory), is_wanted=self._wanted is True)
        if self._process is not None and (is_short or self._process.exited.done()):
            _log.debug("the spare child is ended%s", ": memory is short" if is_short else "")
            await self._discard()
        if self._process is None and not is_short and is_idle():
            await self._start()
        if self._process is not None or is_short:
            self._is_missing.clear()

    async def _start(self) -> None:
        try:
            self._process = await EngineProcess.prepare(self._engine)
        except RunnerStartError as error:
            _log.debug("no spare child: %s", error)
            self._is_missing.clear()  # the next look comes later

    async def _discard(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.close()
