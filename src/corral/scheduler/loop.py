"""The impure half of the scheduler: carries out the instructions of the state machine and reports what happened.

It owns every task that starts, stops or pings a child, is the only caller of `SchedulerState`, and logs every
decision with its reason. An event is applied at once where it happens, on the event loop, so a lease on a loaded
model costs no task switch. Every instruction that the state machine expects an answer to gets one, whatever fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from corral import caller, requestfacts, tracenotes
from corral.config import Settings
from corral.devices import Machine, read_machine
from corral.disk import ReadAhead
from corral.errors import (
    CorralError,
    RunnerExitedError,
    RunnerStartError,
    SchedulingError,
)
from corral.requestfacts import RequestFacts
from corral.runner.interface import Runner, RunnerFactory, RunnerSpec
from corral.scheduler import events, instructions, reasons
from corral.scheduler.children import check_devices, close
from corral.scheduler.configure import GPUSource, scheduler_config
from corral.scheduler.decisions import Decisions
from corral.scheduler.describe import Expiries, info_of, state_of
from corral.scheduler.journal import Journal
from corral.scheduler.keeping import Keeping
from corral.scheduler.loaded import LoadedRunner, Phase
from corral.scheduler.shortage import is_out_of_memory
from corral.scheduler.spec import LoadedInfo, LoadRequest, RunnerState, SchedulerConfig
from corral.scheduler.state import SchedulerState
from corral.scheduler.suspension import Suspension
from corral.supervise import log_failure

_log = logging.getLogger("corral.scheduler")
# A request that waits for longer is mentioned without OLLAMA_DEBUG.
_LONG_WAIT_S = 10
_PING_TIMEOUT_S = 10.0
# How long the end of the server may wait for prompts to be written.
_KEEP_PROMPTS_AT_END_S = 3.0
# A driver gives a dead child's memory back a little later (ollama: server/sched.go).
_VRAM_WAIT_S = 5.0
_VRAM_POLL_S = 0.25
_VRAM_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a runner until the context of `Scheduler.lease` is left."""

    runner: Runner


@dataclass(slots=True)
class _Pending:
    """A request that has no answer yet. `reason`: what it waits for."""

    answer: asyncio.Future[int]
    request: LoadRequest
    facts: RequestFacts
    reason: str = ""


class Scheduler:
    """Use it as an async context manager: leaving it kills every child.

    `measure` reads the machine as it is now; it may take seconds and does not raise. `read_ahead` gets the path of
    weights that will be loaded, and does not block.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        factory: RunnerFactory,
        *,
        measure: Callable[[], Awaitable[Machine]],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        read_ahead: Callable[[Path], None] = lambda _path: None,
        journal: Journal | None = None,
        look_again: Callable[[], None] = lambda: None,
        suspension: Suspension | None = None,
    ) -> None:
        self._config = config
        self._factory = factory
        self._measure = measure
        self._clock_ns = clock_ns
        self._read_ahead = read_ahead
        self._decisions = Decisions(journal or Journal())
        self._look_again = look_again
        self._suspension = suspension or Suspension()
        self._keeping = Keeping(self._unanswered)
        self._state: SchedulerState | None = None
        self._tickets = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._runners: dict[int, Runner] = {}
        self._loads: dict[int, asyncio.Task[None]] = {}
        # Per runner that has been ready: the monotonic times at which its load began and ended.
        self._load_times: dict[int, tuple[int, int]] = {}
        self._questions: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._expiries = Expiries(clock_ns)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        factory: RunnerFactory,
        gpus: GPUSource,
        journal: Journal | None = None,
    ) -> Scheduler:
        """A scheduler for this machine, with the GPUs of its engine."""
        return cls(
            scheduler_config(settings),
            factory,
            measure=partial(asyncio.to_thread, read_machine, gpus.read),
            read_ahead=ReadAhead(),
            journal=journal,
            look_again=gpus.look_again,
        )

    async def __aenter__(self) -> Scheduler:
        self._state = SchedulerState(self._config, await self._measure())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Refuse waiting requests, cancel loads, kill and reap every child. Endings under way are awaited."""
        self._state = None
        self._keeping.give_up()
        if self._timer is not None:
            self._timer.cancel()
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(_shutting_down())
        starting = [*self._loads.values(), *self._questions]
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, *self._endings, return_exceptions=True)
        runners = list(self._runners.values())
        self._runners.clear()
        keeping = (runner.keep_prompts(_KEEP_PROMPTS_AT_END_S) for runner in runners)
        await asyncio.gather(*keeping, return_exceptions=True)
        await asyncio.gather(*(close(runner) for runner in runners))

    @contextlib.asynccontextmanager
    async def lease(self, request: LoadRequest, keep_alive_ns: int | None) -> AsyncIterator[Lease]:
        """Wait for a runner that serves the request; it stays loaded at least as long as the context.

        Raises:
            QueueFullError: too many wait already.
            RunnerStartError: the model could not be loaded.
            RunnerExitedError: the child died in this very moment.
            SchedulingError: the server shuts down.
        """
        ticket, facts = next(self._tickets), requestfacts.current()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        facts.wanted_model = request.name
        self._pending[ticket] = _Pending(answer, request, facts)
        try:
            self._notice_suspension()
            who = caller.current()
            self._tell(events.RequestArrived(ticket, request, keep_alive_ns, who.priority, who.share))
            if not answer.done():
                self._keeping.has_arrived()
                self._expect(request)
            runner_id = answer.result() if answer.done() else await self._wait(ticket, facts, answer)
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                answer.exception()  # a refusal that crossed the cancellation concerns nobody any more
            self._tell(events.RequestCanceled(ticket))
            raise
        finally:
            del self._pending[ticket]
        try:
            runner = self._runners.get(runner_id)
            if runner is None:
                raise RunnerExitedError("model runner has unexpectedly stopped before the request began")
            facts.served_model = request.name
            facts.enter("running")
            self._note_devices(runner_id, facts)
            yield Lease(runner)
        finally:
            facts.enter("")
            self._tell(events.LeaseEnded(ticket))

    def _notice_suspension(self) -> None:
        """Models on GPUs are loaded again after the machine was suspended: what a driver held then may be gone."""
        if self._suspension.has_passed() and self._state is not None:
            _log.info("the machine was suspended: models on GPUs are loaded again")
            self._look_again()
            self._tell(events.MachineResumed())

    def _note_devices(self, runner_id: int, facts: RequestFacts) -> None:
        loaded = self._loaded_runner(runner_id)
        if loaded is not None:
            facts.devices, facts.fallback = loaded.devices, loaded.fallback

    def _loaded_runner(self, runner_id: int) -> LoadedRunner | None:
        return next((known for known in self._known if known.runner_id == runner_id), None)

    def _expect(self, request: LoadRequest) -> None:
        """Begin to read weights that are not loaded, while room is made and a child starts."""
        is_under_way = any(
            r.spec.weights_key == request.weights_key and r.phase is not Phase.LOADING for r in self._known
        )
        if not is_under_way:
            self._read_ahead(request.weights_path)

    async def _wait(self, ticket: int, facts: RequestFacts, answer: asyncio.Future[int]) -> int:
        """Await the answer; the time that it took is noted, split into that of the load and the rest."""
        facts.enter("queued", self._state.turn_of(ticket) if self._state is not None else None)
        arrived_ns = self._clock_ns()
        mention = asyncio.get_running_loop().call_later(_LONG_WAIT_S, self._mention_wait, ticket)
        runner_id = None
        try:
            runner_id = await answer
        finally:
            mention.cancel()
            began_ns, ended_ns = self._load_times.get(runner_id or 0, (0, 0))
            load_ns = max(ended_ns - max(began_ns, arrived_ns), 0)
            now_ns = self._clock_ns()
            facts.load_ns += load_ns
            facts.queue_ns += now_ns - arrived_ns - load_ns
            tracenotes.note_wait(facts.stage_ns, load_ns, now_ns - ended_ns)
        return runner_id

    def _mention_wait(self, ticket: int) -> None:
        if pending := self._pending.get(ticket):
            request = pending.facts.request_id
            self._decisions.waiting(pending.request.name, _LONG_WAIT_S, pending.reason, request)

    def unload(self, weights_key: str) -> None:
        """Unload a model as soon as it is idle; does not wait for that."""
        facts = requestfacts.current()
        _log.debug("unload requested model=%s request=%s", requestfacts.named(facts.model), facts.request_id)
        self._tell(events.UnloadRequested(weights_key))

    @property
    def is_idle(self) -> bool:
        """Whether nobody has a runner or waits for one, and none is being loaded."""
        state = self._state
        return state is not None and not (state.lease_count or state.waiting_count or self._loads)

    def reconfigure(self, config: SchedulerConfig) -> None:
        """Use other settings from now on; runners that were started stay as they are."""
        self._config = config
        self._tell(events.ConfigChanged(config))

    def loaded(self) -> list[LoadedInfo]:
        """The models whose load has finished and whose end has not begun."""
        return [
            info_of(known, self._runners.get(known.runner_id), self._expiries.of(known), self._config.groups)
            for known in self._known
            if known.phase in {Phase.READY, Phase.CHECKING}
        ]

    def loading(self) -> list[tuple[str, float]]:
        """Name and share (0 to 1) of every model that is being loaded."""
        return [(r.origin.name, r.load_share) for r in self._known if r.phase is Phase.LOADING]

    def states(self) -> list[RunnerState]:
        """What each loaded model does."""
        pairs = ((known, self._runners.get(known.runner_id)) for known in self._known)
        return [state_of(known, runner) for known, runner in pairs if runner is not None]

    def waiting(self) -> list[str]:
        """For each request that has no runner yet, the name of the model that it waits for."""
        return [each.request.name for each in self._pending.values() if not each.answer.done()]

    @property
    def _known(self) -> tuple[LoadedRunner, ...]:
        return self._state.runners if self._state is not None else ()

    # --- events in, instructions out ---------------------------------------------------------------------

    def _tell(self, event: events.Event) -> None:
        if self._state is None:
            if isinstance(event, events.RequestArrived):
                raise _shutting_down()
            return
        for instruction in self._state.handle(event, self._clock_ns()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: instructions.Instruction) -> None:
        match instruction:
            case instructions.Grant(ticket, runner_id):
                self._grant(ticket, runner_id)
            case instructions.Refuse(ticket, error):
                self._refuse(ticket, error)
            case instructions.Explain(ticket, reason):
                self._explain(ticket, reason)
            case instructions.StartLoad():
                self._decisions.loading(instruction, self._request_of(instruction.ticket))
                runner_id = instruction.runner_id
                self._loads[runner_id] = asyncio.create_task(self._load(runner_id, instruction.spec))
            case instructions.AbortLoad(runner_id, reason):
                _spawn(self._abort(runner_id, reason), self._endings)
            case instructions.StopRunner(runner_id, reason, for_ticket):
                _spawn(self._stop(runner_id, reason, self._request_of(for_ticket)), self._endings)
            case instructions.PingRunner(runner_id):
                _spawn(self._ping(runner_id), self._questions)
            case instructions.ReadMemory():
                _spawn(self._report_memory(), self._questions)
            case instructions.WakeAt(at_ns):
                self._wake_at(at_ns)

    def _grant(self, ticket: int, runner_id: int) -> None:
        pending = self._pending.get(ticket)
        if pending is None or pending.answer.done():
            return
        pending.answer.set_result(runner_id)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "granted model=%s runner=%d request=%s",
                pending.request.name,
                runner_id,
                pending.facts.request_id,
            )

    def _refuse(self, ticket: int, error: CorralError) -> None:
        pending = self._pending.get(ticket)
        if pending is None or pending.answer.done():
            return
        pending.answer.set_exception(error)
        self._decisions.refused(pending.request.name, error, pending.facts.request_id)

    def _explain(self, ticket: int, reason: str) -> None:
        pending = self._pending.get(ticket)
        if pending is None:
            return
        pending.reason = reason
        self._decisions.queued(pending.request.name, reason, pending.facts.request_id)

    def _wake_at(self, at_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(at_ns - self._clock_ns(), 0) / 1e9
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tell, events.TimerFired())

    # --- tasks -------------------------------------------------------------------------------------------

    async def _load(self, runner_id: int, spec: RunnerSpec) -> None:
        started_ns = self._clock_ns()

        def on_progress(share: float) -> None:
            self._tell(events.LoadProgressed(runner_id, share))

        try:
            runner = await self._factory.start(spec, on_progress)
            await check_devices(runner)
        except CorralError as error:
            self._loads.pop(runner_id, None)
            if spec.gpus.listed:
                self._look_again()
            lacks_memory = is_out_of_memory(error)
            # Out of memory is followed by another attempt, or by a refusal with the sizes.
            level = logging.INFO if lacks_memory else logging.WARNING
            self._decisions.load_failed(spec.name, error, level=level)
            self._tell(events.LoadFailed(runner_id, error, lacks_memory))
            return
        except Exception as error:
            self._loads.pop(runner_id, None)
            _log.exception("load failed model=%s", spec.name)
            self._decisions.load_failed(spec.name, error, level=logging.NOTSET)  # it is logged
            failure = RunnerStartError(f"error starting llama-server: {str(error) or type(error).__name__}")
            self._tell(events.LoadFailed(runner_id, failure))
            return
        self._loads.pop(runner_id, None)
        self._runners[runner_id] = runner
        ended_ns = self._clock_ns()
        self._load_times[runner_id] = (started_ns, ended_ns)
        self._decisions.loaded(runner, (ended_ns - started_ns) / 1e9)
        self._tell(events.LoadSucceeded(runner_id, runner.spec, runner.facts.load))

        def on_exit(exited: asyncio.Future[RunnerExitedError]) -> None:
            if not exited.cancelled() and runner_id in self._runners:
                error = exited.result()
                self._decisions.ended(spec.name, error)
                if spec.gpus.listed:
                    self._look_again()  # it may have died because one is gone
                self._tell(events.RunnerExited(runner_id, is_out_of_memory(error)))

        runner.exited.add_done_callback(on_exit)

    async def _abort(self, runner_id: int, reason: str) -> None:
        load = self._loads.pop(runner_id, None)
        if load is not None:
            self._decisions.load_aborted(self._name_of(runner_id), reason)
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        await self._stop(runner_id, reason)

    async def _stop(self, runner_id: int, reason: str, request: str = "") -> None:
        """`request`: the id of the request for which it is stopped, if there is one."""
        runner, loaded = self._runners.pop(runner_id, None), self._loaded_runner(runner_id)
        self._expiries.forget(runner_id)
        self._load_times.pop(runner_id, None)
        if runner is not None:
            await self._keeping.keep(runner, loaded.origin if loaded is not None else None)
            vram_bytes = self._vram_bytes(runner_id)
            before = await self._measure() if vram_bytes else None
            await close(runner)
            self._decisions.unloaded(runner.spec.name, reason, request)
            if before is not None and not any(gpu.is_unified for gpu in before.gpus):
                await self._await_vram(before.vram_free_bytes + int(vram_bytes * _VRAM_SHARE))
        self._tell(events.RunnerStopped(runner_id))

    def _unanswered(self) -> Iterator[LoadRequest]:
        return (pending.request for pending in self._pending.values() if not pending.answer.done())

    def _vram_bytes(self, runner_id: int) -> int:
        loaded = self._loaded_runner(runner_id)
        return loaded.vram_bytes if loaded is not None else 0

    def _request_of(self, ticket: int | None) -> str:
        """The id of the request behind a ticket, if it came by HTTP and still waits."""
        pending = self._pending.get(ticket or 0)
        return pending.facts.request_id if pending else ""

    def _name_of(self, runner_id: int) -> str:
        loaded = self._loaded_runner(runner_id)
        return loaded.origin.name if loaded is not None else ""

    async def _await_vram(self, wanted_bytes: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_VRAM_WAIT_S):
                for _ in range(int(_VRAM_WAIT_S / _VRAM_POLL_S)):
                    if self._state is None or (await self._measure()).vram_free_bytes >= wanted_bytes:
                        return
                    await asyncio.sleep(_VRAM_POLL_S)

    async def _ping(self, runner_id: int) -> None:
        runner = self._runners.get(runner_id)
        try:
            is_healthy = runner is not None and await runner.ping(_PING_TIMEOUT_S)
        except Exception:
            _log.exception("ping failed model=%s", self._name_of(runner_id))
            is_healthy = False
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("pinged model=%s healthy=%s", self._name_of(runner_id), is_healthy)
        self._tell(events.PingAnswered(runner_id, is_healthy))

    async def _report_memory(self) -> None:
        machine = await self._measure()
        if _log.isEnabledFor(logging.DEBUG):
            sizes = {"total": machine.total_bytes, "free": machine.free_bytes}
            if machine.gpus:
                sizes |= {"vram_total": machine.vram_total_bytes, "vram_free": machine.vram_free_bytes}
            _log.debug(
                "memory %s", " ".join(f'{what}="{reasons.size(count)}"' for what, count in sizes.items())
            )
        self._tell(events.MemoryReported(machine))


def _spawn(work: Coroutine[Any, Any, None], owner: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(work)
    owner.add(task)
    task.add_done_callback(owner.discard)
    task.add_done_callback(log_failure)


def _shutting_down() -> SchedulingError:
    return SchedulingError("the server is shutting down", hint="try again when it is back")
