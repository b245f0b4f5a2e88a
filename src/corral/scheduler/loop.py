"""The impure half of the scheduler: carries out what the state machine says, and tells it what happened.

It owns every task that starts, stops or asks a child, and is the only caller of `SchedulerState`. An event is
applied at once where it happens, on the event loop, so a lease on a loaded model costs no task switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from corral.config import Settings
from corral.devices import Machine, read_machine
from corral.errors import CorralError, RunnerExitedError, RunnerStartError
from corral.runner.interface import Runner, RunnerFactory, RunnerSpec
from corral.scheduler import events, instructions
from corral.scheduler.residents import Phase, Resident
from corral.scheduler.spec import FOREVER_NS, LoadedInfo, LoadRequest, SchedulerConfig
from corral.scheduler.state import SchedulerState

__all__ = ["Lease", "Scheduler"]

_log = logging.getLogger("corral.scheduler")
_PING_TIMEOUT_S = 10.0
_OUT_OF_MEMORY_MARKS = ("insufficient memory", "out of memory", "failed to allocate", "bad_alloc", "SIGKILL")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a runner until the context of `Scheduler.lease` is left."""

    runner: Runner


class Scheduler:
    """Use it as an async context manager: leaving it kills every child."""

    def __init__(
        self,
        config: SchedulerConfig,
        factory: RunnerFactory,
        *,
        read_machine: Callable[[], Machine],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._config = config
        self._factory = factory
        self._read_machine = read_machine
        self._clock_ns = clock_ns
        self._state: SchedulerState | None = None
        self._tickets = itertools.count(1)
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._runners: dict[int, Runner] = {}
        self._loads: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def from_settings(cls, settings: Settings, factory: RunnerFactory) -> Scheduler:
        """A scheduler for this machine; GPUs count only if an external engine may use them."""
        config = SchedulerConfig(
            keep_alive_ns=settings.keep_alive_ns,
            load_timeout_ns=settings.load_timeout_ns,
            max_loaded_models=settings.max_loaded_models,
            max_queue=settings.max_queue,
            num_parallel=settings.num_parallel,
            context_length=settings.context_length,
            kv_cache_type=settings.kv_cache_type,
            flash_attention=settings.flash_attention,
            gpu_overhead_bytes=settings.gpu_overhead_bytes,
        )
        has_gpus = bool(settings.llama_server)
        return cls(config, factory, read_machine=lambda: read_machine(with_gpus=has_gpus))

    async def __aenter__(self) -> Scheduler:
        machine = await asyncio.to_thread(self._read_machine)
        self._state = SchedulerState(self._config, machine)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop everything: loads are cancelled, children killed and reaped."""
        if self._timer is not None:
            self._timer.cancel()
        self._state = None
        tasks = [*self._loads.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        runners = list(self._runners.values())
        self._runners.clear()
        await asyncio.gather(*(runner.close() for runner in runners), return_exceptions=True)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(CorralError("the server is shutting down"))

    @contextlib.asynccontextmanager
    async def lease(self, request: LoadRequest, keep_alive_ns: int | None) -> AsyncIterator[Lease]:
        """Wait for a runner that serves the request; it stays loaded at least as long as the context.

        Raises:
            QueueFullError: too many wait already.
            RunnerStartError: the model could not be loaded.
            CorralError: the server shuts down.
        """
        ticket = next(self._tickets)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        try:
            self._tell(events.RequestArrived(ticket, request, keep_alive_ns))
            runner_id = answer.result() if answer.done() else await answer
        except asyncio.CancelledError:
            self._tell(events.RequestCanceled(ticket))
            raise
        finally:
            del self._answers[ticket]
        try:
            runner = self._runners.get(runner_id)
            if runner is None:
                raise RunnerExitedError("model runner has unexpectedly stopped before the request began")
            yield Lease(runner)
        finally:
            self._tell(events.LeaseEnded(ticket))

    def unload(self, weights_key: str) -> None:
        """Unload a model as soon as it is idle; does not wait for that."""
        self._tell(events.UnloadRequested(weights_key))

    def loaded(self) -> list[LoadedInfo]:
        """The models whose load has finished and whose end has not begun."""
        residents = self._state.residents if self._state is not None else ()
        return [
            self._describe(resident)
            for resident in residents
            if resident.phase in (Phase.READY, Phase.CHECKING)
        ]

    def _describe(self, resident: Resident) -> LoadedInfo:
        now_ns = self._clock_ns()
        ends_ns = resident.expires_at_ns
        if resident.keep_alive_ns >= FOREVER_NS:
            expires_at_ns = time.time_ns() + FOREVER_NS
        else:
            left_ns = resident.keep_alive_ns if ends_ns is None else ends_ns - now_ns
            expires_at_ns = time.time_ns() + left_ns
        runner = self._runners.get(resident.runner_id)
        return LoadedInfo(
            name=resident.origin.name,
            manifest_digest=resident.origin.manifest_digest,
            weights_key=resident.origin.weights_key,
            size_bytes=resident.plan.estimate.total_bytes,
            size_vram_bytes=resident.plan.vram_bytes,
            expires_at_ns=expires_at_ns,
            num_ctx=min(resident.spec.num_ctx, runner.facts.num_ctx) if runner else resident.spec.num_ctx,
            details=resident.origin.details,
        )

    # --- events in, instructions out ---------------------------------------------------------------------

    def _tell(self, event: events.Event) -> None:
        if self._state is None:
            if isinstance(event, events.RequestArrived):
                raise CorralError("the server is shutting down")
            return
        for instruction in self._state.handle(event, self._clock_ns()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: instructions.Instruction) -> None:
        match instruction:
            case instructions.Grant(ticket, runner_id):
                answer = self._answers.get(ticket)
                if answer is not None and not answer.done():
                    answer.set_result(runner_id)
            case instructions.Refuse(ticket, error):
                answer = self._answers.get(ticket)
                if answer is not None and not answer.done():
                    answer.set_exception(error)
            case instructions.StartLoad(runner_id, spec):
                task = asyncio.create_task(self._load(runner_id, spec), name=f"load-{runner_id}")
                self._loads[runner_id] = task
            case instructions.AbortLoad(runner_id):
                self._spawn(self._abort(runner_id))
            case instructions.StopRunner(runner_id):
                self._spawn(self._stop(runner_id))
            case instructions.PingRunner(runner_id):
                self._spawn(self._ping(runner_id))
            case instructions.ReadMemory():
                self._spawn(self._measure())
            case instructions.WakeAt(at_ns):
                self._wake_at(at_ns)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wake_at(self, at_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(at_ns - self._clock_ns(), 0) / 1e9
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self._tell, events.TimerFired())

    # --- tasks -------------------------------------------------------------------------------------------

    async def _load(self, runner_id: int, spec: RunnerSpec) -> None:
        started_s = time.perf_counter()

        def on_progress(share: float) -> None:
            self._tell(events.LoadProgressed(runner_id, share))

        try:
            runner = await self._factory.start(spec, on_progress)
        except CorralError as error:
            self._loads.pop(runner_id, None)
            _log.warning("load failed model=%s error=%s", spec.weights_path.name, error)
            self._tell(events.LoadFailed(runner_id, error, _is_out_of_memory(error)))
            return
        except Exception as error:
            self._loads.pop(runner_id, None)
            _log.exception("load failed model=%s", spec.weights_path.name)
            failure = RunnerStartError(f"error starting llama-server: {error}")
            self._tell(events.LoadFailed(runner_id, failure, is_out_of_memory=False))
            return
        self._loads.pop(runner_id, None)
        self._runners[runner_id] = runner
        _log.info(
            "loaded model=%s seconds=%.2f num_ctx=%d slots=%d threads=%d",
            spec.weights_path.name,
            time.perf_counter() - started_s,
            spec.num_ctx,
            spec.num_parallel,
            spec.num_thread,
        )

        def on_exit(exited: asyncio.Future[RunnerExitedError]) -> None:
            if not exited.cancelled() and runner_id in self._runners:
                _log.warning("runner ended model=%s reason=%s", spec.weights_path.name, exited.result())
                self._tell(events.RunnerExited(runner_id, _is_out_of_memory(exited.result())))

        runner.exited.add_done_callback(on_exit)
        self._tell(events.LoadSucceeded(runner_id))

    async def _abort(self, runner_id: int) -> None:
        load = self._loads.pop(runner_id, None)
        if load is not None:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        await self._stop(runner_id)

    async def _stop(self, runner_id: int) -> None:
        runner = self._runners.pop(runner_id, None)
        if runner is not None:
            await runner.close()
            _log.info("unloaded model=%s", runner.spec.weights_path.name)
        self._tell(events.RunnerStopped(runner_id))

    async def _ping(self, runner_id: int) -> None:
        runner = self._runners.get(runner_id)
        is_healthy = runner is not None and await runner.ping(_PING_TIMEOUT_S)
        self._tell(events.PingAnswered(runner_id, is_healthy))

    async def _measure(self) -> None:
        self._tell(events.MemoryReported(await asyncio.to_thread(self._read_machine)))


def _is_out_of_memory(error: CorralError) -> bool:
    """Whether a child died for want of memory, as far as its last words tell."""
    text = f"{error} {getattr(error, 'log_tail', '')}"
    return any(mark in text for mark in _OUT_OF_MEMORY_MARKS)
