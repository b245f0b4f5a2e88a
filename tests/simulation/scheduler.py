"""The scheduler, the supervisor of engines and its client, with engines that fail and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from corral import caller, requestfacts
from corral.caller import Caller
from corral.devices import CPU, Machine
from corral.errors import CorralError, QueueFullError
from corral.priorities import PRIORITIES
from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, Runner
from corral.runner.spare import Spare
from corral.scheduler.loop import Scheduler
from corral.scheduler.placement import max_loaded_models
from corral.scheduler.spec import LoadRequest, MemoryShape, SchedulerConfig
from corral.types import LoadOptions, SamplingOptions
from tests.simulation.engine import FATES, FAULTS, TOKEN_S, Engine, Fate
from tests.simulation.processes import Child
from tests.simulation.world import World

GIB = 1 << 30
SECOND = 10**9
TOTAL = 12 * GIB
SIZES_GIB = {"a": 1, "b": 2, "c": 4, "d": 7}
LOAD_TIMEOUT_S = 15
HANG_TIMEOUT_S = 12.0
# A child is reaped by then, or the server goes on without it.
_REAP_S = 10.0
_TAKES_S = 60.0
_LONG_QUEUE = 512


class SchedulerWorld(World):
    """A few clients and models on a machine of 12 GiB, for about a minute."""

    name = "scheduler"
    invariants: ClassVar[dict[str, str]] = {
        "memory": "engines beside others fit in the memory that is free",
        "models": "no more engines than allowed",
        "one load": "one load at a time, and none while another engine ends",
        "one end": "each request ends once, with a whole answer or an error",
        "right answer": "an answer is that of the request, whole and in order",
        "served": "without faults every request is served",
        "no starvation": "each request ends in a bounded time",
        "busy engines": "an engine that works for somebody is not ended",
        "slots": "an engine has no more requests than slots",
        "queue": "a request is turned away only where the queue is full",
        "owners": "no engine is left without an owner, nor after the end of the server",
        "leaks": "at the end nothing waits, and nothing is connected",
        "keep alive": "an idle engine ends when its time is over",
    }

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        chance = self.chance
        self._is_calm = self.maybe(0.25)
        self._other_bytes = chance.choice((0, 1, 3)) * GIB
        self._config = SchedulerConfig(
            keep_alive_ns=chance.choice((0, 2, 5, 60, -1)) * SECOND,
            load_timeout_ns=LOAD_TIMEOUT_S * SECOND,
            max_loaded_models=chance.choice((0, 0, 1, 2)),
            max_queue=chance.choice((1, 3, _LONG_QUEUE)),
            num_parallel=chance.choice((0, 1, 2)),
            ping_after_idle_ns=chance.choice((1, 30)) * SECOND,
        )
        self._engines: dict[int, Engine] = {}
        self._users: Counter[int] = Counter()
        self._killed_s: dict[int, float] = {}
        self._is_closing = False
        self._scheduler: Scheduler
        self._tasks: list[asyncio.Task[None]] = []
        processes = self.loop.processes
        processes.main, processes.on_kill = self._main, self._on_kill

    async def live(self) -> None:
        factory = EngineFactory(EngineChoice(), max_waiting=3, hang_timeout_s=HANG_TIMEOUT_S)
        spare = Spare(EngineChoice(), lambda: (TOTAL, self._free_bytes()))
        factory._spare = spare if (has_spare := self.maybe(0.3)) else None
        self._scheduler = scheduler = Scheduler(
            self._config, factory, measure=self._measure, clock_ns=self.loop.clock_ns
        )
        async with scheduler:
            async with spare.kept(lambda: scheduler.is_idle) if has_spare else contextlib.nullcontext():
                await self._clients()
            self._is_closing = True
        factory.close()
        self.note("the server has ended")
        await asyncio.sleep(2 * _REAP_S)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_TAKES_S * 3)
            self.check(not late, "no starvation", lambda: f"{len(late)} clients outlive the server")
        self._check_end()

    async def _clients(self) -> None:
        count = self.chance.randint(2, 9)
        tasks = self._tasks = [self.spawn(self._client(i + 1), f"client {i + 1}") for i in range(count)]
        if self.maybe(0.3):
            tasks.append(self.spawn(self._operator(), "operator"))
        bound_s = 30.0 + (count + 1) * (LOAD_TIMEOUT_S + HANG_TIMEOUT_S + _TAKES_S)
        if self.maybe(0.15):
            await asyncio.sleep(self.chance.uniform(0, 12))
            self.note("the server ends early")
            self._is_closing = True
            for task in tasks:
                if self.maybe(0.5):
                    task.cancel()
            return
        _, late = await asyncio.wait(tasks, timeout=bound_s)
        self.check(not late, "no starvation", lambda: f"{len(late)} requests have no end after {bound_s} s")
        await self._check_idle()

    async def _check_idle(self) -> None:
        """Everybody has gone: who is left ends when its time is over."""
        self.check(self._scheduler.is_idle, "leaks", "the scheduler is not idle without clients")
        self.check(not self._scheduler.waiting(), "leaks", "requests wait without clients")
        longest_s = max(self._config.keep_alive_ns / SECOND, 8.0) + LOAD_TIMEOUT_S + 2 * _REAP_S
        if self._config.keep_alive_ns >= 0 and self.maybe(0.5):
            await asyncio.sleep(longest_s)
            left = [e.name for e in self._loaded()]
            self.check(not left, "keep alive", lambda: f"{left} live {longest_s} s after the last request")

    def _check_end(self) -> None:
        living = [self._engines[child.pid].name for child in self.loop.processes.living]
        self.check(not living, "owners", lambda: f"{living} live after the end of the server")
        ends = [end.address for end in self.loop.network.ends]
        self.check(not ends, "leaks", lambda: f"still connected: {ends}")
        others = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        self.check(not others, "leaks", lambda: f"tasks are left: {sorted(others)}")

    # --- clients ---

    async def _client(self, number: int) -> None:
        chance = self.chance
        await asyncio.sleep(chance.choice((0.0, chance.uniform(0, 3), chance.uniform(0, 25))))
        caller.begin(Caller(priority=chance.choice(PRIORITIES), share=chance.choice(("", "x", "y"))))
        for turn in range(chance.choice((1, 1, 2, 3))):
            work = asyncio.ensure_future(self._ask(number * 10 + turn))
            patience_s = chance.uniform(0, 8) if self.maybe(0.2) else None
            await asyncio.wait({work}, timeout=patience_s)
            if not work.done():
                self.note(f"request {number * 10 + turn} is given up")
                work.cancel()
                await asyncio.wait({work})
            if not work.cancelled():
                work.result()
            await asyncio.sleep(chance.uniform(0, 2) if self.maybe(0.8) else chance.uniform(5, 40))

    async def _ask(self, number: int) -> None:
        key = self.chance.choice(sorted(SIZES_GIB))
        keep_alive_ns = self.chance.choice((None, None, 0, 3 * SECOND))
        self.note(f"request {number} for {key}")
        requestfacts.begin(str(number))
        has_engine = False
        try:
            async with self._scheduler.lease(self._wish(key), keep_alive_ns) as lease:
                has_engine = True  # which has a queue of its own
                await self._use(lease.runner, number)
        except QueueFullError:
            self.note(f"request {number} is turned away")
            if self._config.max_queue == _LONG_QUEUE and not has_engine:
                self.fail("queue", f"request {number} is turned away from an empty queue")
        except CorralError as error:
            self.note(f"request {number} fails: {type(error).__name__}: {str(error)[:90]}")
            if self._is_calm and not self._is_closing:
                self.fail("served", f"request {number} failed: {error}")

    async def _use(self, runner: Runner, number: int) -> None:
        pid: int = runner.pid  # type: ignore[attr-defined]
        self.note(f"request {number} has engine {self._engines[pid].name}")
        self._users[pid] += 1
        try:
            text, ends = "", 0
            count = self.chance.randint(1, 12)
            request = CompletionRequest([number, 1, 2], SamplingOptions(num_predict=count))
            async with runner.complete(request) as pieces:
                async for some in pieces:
                    text += "".join(piece.text for piece in some)
                    ends += sum(piece.final is not None for piece in some)
            await asyncio.sleep(self.chance.choice((0.0, TOKEN_S)))
        finally:
            self._users[pid] -= 1
        wanted = "".join(f"{number}.{i} " for i in range(count))
        self.check(ends == 1, "one end", lambda: f"request {number} has {ends} ends")
        self.check(text == wanted, "right answer", lambda: f"request {number} got {text!r}, not {wanted!r}")
        self.note(f"request {number} is served")

    def _wish(self, key: str) -> LoadRequest:
        shape = MemoryShape(file_bytes=SIZES_GIB[key] * GIB, n_ctx_train=8192)
        options = LoadOptions(num_ctx=self.chance.choice((0, 0, 0, 64, 4096)))
        return LoadRequest(Path(f"/m/{key}"), key, key, "d" * 64, options, shape=shape)

    async def _operator(self) -> None:
        """Unloads models and changes settings."""
        for _ in range(3):
            await asyncio.sleep(self.chance.uniform(0, 10))
            if self.maybe(0.7):
                key = self.chance.choice(sorted(SIZES_GIB))
                self.note(f"{key} is unloaded by hand")
                self._scheduler.unload(key)
            else:
                most = self.chance.choice((1, 2, 3))
                self.note(f"the limit of models is {most}")
                self._config = replace(self._config, max_loaded_models=most)
                self._scheduler.reconfigure(self._config)

    # --- engines ---

    async def _main(self, child: Child) -> None:
        engine = self._engines[child.pid] = Engine(self, child, self._fate_of)
        await engine.main()

    def _fate_of(self, engine: Engine) -> Fate:
        """An engine has its order: what must hold for a load to begin, and what becomes of it."""
        chance = self.chance
        kind = chance.choice(FATES) if self.maybe(0.4) else "is well"
        if self._is_calm and kind in FAULTS:
            kind = "is well"
        load_s = chance.uniform(8, 11) if kind == "is slow" else chance.uniform(0.05, 2)
        cling_s = chance.uniform(0, 8) if self.maybe(0.1) else 0.0
        self.note(f"a load of {engine.name} begins ({kind})")
        self._check_load(engine)
        return Fate(kind, load_s, cling_s, chance.uniform(0.1, 6))

    def _check_load(self, new: Engine) -> None:
        key = Path(new.model).name
        others = [engine for engine in self._loaded() if engine is not new and not self._is_given_up(engine)]
        # The watchdog of an engine that hangs kills it while the scheduler still counts it.
        mine = [e for e in others if e.is_loading or (e.is_killed and not e.has_failed)]
        self.check(not mine, "one load", lambda: f"{mine[0].name} loads or ends while {key} begins to load")
        most = max_loaded_models(self._config, Machine(CPU(2, 2), TOTAL, TOTAL))
        self.check(len(others) < most, "models", lambda: f"{len(others) + 1} engines of {most}")
        if others:
            sizes = [SIZES_GIB[Path(engine.model).name] for engine in others]
            needed = (sum(sizes) + SIZES_GIB[key]) * GIB
            room = TOTAL - self._other_bytes
            self.check(needed <= room, "memory", lambda: f"{sizes} and {key} need more than {room} bytes")

    def _loaded(self) -> list[Engine]:
        """Living engines that have an order."""
        living = (self._engines.get(child.pid) for child in self.loop.processes.living)
        return [engine for engine in living if engine is not None and engine.order]

    def _is_given_up(self, engine: Engine) -> bool:
        killed_s = self._killed_s.get(engine.pid)
        return killed_s is not None and self.now_s - killed_s >= _REAP_S - 0.1

    def _on_kill(self, child: Child) -> None:
        engine = self._engines.get(child.pid)
        if engine is None:
            return
        self._killed_s.setdefault(child.pid, self.now_s)
        if not engine.is_killed and engine.order:
            self.note(f"engine {engine.name} is killed")
        engine.is_killed = True
        is_wrong = self._users[child.pid] and not engine.has_failed and not self._is_closing
        self.check(not is_wrong, "busy engines", lambda: f"{engine.name} works, and is killed")

    # --- the machine ---

    def _free_bytes(self) -> int:
        used = sum(SIZES_GIB[Path(engine.model).name] for engine in self._loaded())
        return max(TOTAL - self._other_bytes - used * GIB, 0)

    async def _measure(self) -> Machine:
        await asyncio.sleep(self.chance.uniform(0.001, 0.05))
        return Machine(CPU(2, 2), TOTAL, self._free_bytes())
