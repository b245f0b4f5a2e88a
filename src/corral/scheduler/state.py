"""The scheduler's brain: an event and the time in, instructions out. No I/O, no tasks, no clock of its own.

Everything that decides who gets a runner, what is loaded and what is unloaded lives here and nowhere else.

Theory of operation. A request whose runner is ready and compatible is granted at once. All others wait in
one line; its order is that of arrival, unless they differ in class or key (`corral.line`). Whatever changed,
`_advance` walks along that line: a ticket that a ready runner can serve is granted, one that a starting runner
will serve goes on waiting, and the first that neither can serve becomes the *candidate*. Only the candidate
changes what is loaded: it has its runner reloaded, or gets room by evicting others, one at a time, and then
starts a load. Only one load runs at a time, because free memory measured during another load means nothing.

The candidate's *victim* is the busy runner that it waits for. It gets no further leases, so it becomes
idle; the requests that still want it queue after the candidate. That keeps every wait finite. A more urgent
request may become the candidate instead; then the victim is chosen again.

Invariants (the random walks in the tests check them): a runner with leases is never stopped; each ticket is
answered exactly once, granted or refused, unless it is cancelled; never more runners than allowed; beside
others only a runner that is predicted to fit is started; at most one starts; at most `max_queue` wait
after the first. Every start, stop and refusal has a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from corral.devices import Machine
from corral.errors import CorralError, QueueFullError, RunnerStartError
from corral.line import Turn
from corral.scheduler import events, groups, instructions, placement, reasons
from corral.scheduler.describe import fallback_of
from corral.scheduler.events import Event
from corral.scheduler.eviction import beside, eviction_order, in_the_way
from corral.scheduler.instructions import Instruction
from corral.scheduler.ladder import next_retry
from corral.scheduler.loaded import LoadedRunner, Phase, clamp_keep_alive
from corral.scheduler.plan import Plan
from corral.scheduler.reuse import difference
from corral.scheduler.shortage import kept_beside, no_device, shortage
from corral.scheduler.spec import LoadRequest, SchedulerConfig, config_for
from corral.scheduler.waiting import Waiting, WaitingList


class SchedulerState:
    """Feed it with `handle`; carry out what it returns, in order.

    `machine` is what the machine was at the start: it decides the automatic context and the limit of models.
    """

    def __init__(self, config: SchedulerConfig, machine: Machine) -> None:
        self._config = config
        self._machine = machine
        self._default_keep_alive_ns = clamp_keep_alive(config.keep_alive_ns)
        self._runners: dict[int, LoadedRunner] = {}
        self._by_key: dict[str, LoadedRunner] = {}
        self._waiting = WaitingList()
        self._leases: dict[int, LoadedRunner] = {}
        self._candidate: int | None = None
        self._victim: LoadedRunner | None = None
        self._victim_reason = ""
        # Those of which one has to go: the victim is one of them.
        self._victim_ids: frozenset[int] = frozenset()
        self._had_gpus = bool(machine.gpus)
        self._is_measuring = False
        self._is_measured = False
        self._armed_ns: int | None = None
        self._next_runner_id = 1
        self._now_ns = 0
        self._out: list[Instruction] = []
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            events.RequestArrived: self._on_request_arrived,
            events.RequestCanceled: self._on_request_canceled,
            events.LeaseEnded: self._on_lease_ended,
            events.LoadProgressed: self._on_load_progressed,
            events.LoadSucceeded: self._on_load_succeeded,
            events.LoadFailed: self._on_load_failed,
            events.RunnerExited: self._on_runner_exited,
            events.RunnerStopped: self._on_runner_stopped,
            events.PingAnswered: self._on_ping_answered,
            events.UnloadRequested: self._on_unload_requested,
            events.MemoryReported: self._on_memory_reported,
            events.MachineResumed: self._on_machine_resumed,
            events.TimerFired: self._on_timer_fired,
            events.ConfigChanged: self._on_config_changed,
        }

    @property
    def runners(self) -> tuple[LoadedRunner, ...]:
        """All runners in the order in which they were started, to look at only."""
        return tuple(self._runners.values())

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def turn_of(self, ticket: int) -> Turn | None:
        """Where a request that waits stands in the line; to look at only."""
        return self._waiting.turn_of(ticket)

    @property
    def lease_count(self) -> int:
        return len(self._leases)

    def handle(self, event: Event, now_ns: int) -> list[Instruction]:
        """Apply one event that happened at `now_ns` (monotonic)."""
        out: list[Instruction] = []
        self._out = out
        self._now_ns = now_ns
        self._handlers[type(event)](event)
        self._arm()
        return out

    # --- requests ----------------------------------------------------------------------------------------

    def _on_request_arrived(self, event: events.RequestArrived) -> None:
        """Grant at once (1), await the ping of a runner that was idle for long (2), refuse (3), queue (4)."""
        runner = self._by_key.get(event.request.weights_key)
        is_served = is_passing = False
        if runner is not None and runner is not self._victim and self._serves(runner, event.request):
            if runner.phase is Phase.READY and not self._needs_ping(runner):
                self._grant(event.ticket, event.keep_alive_ns, runner)  # 1
                return
            if runner.phase is Phase.READY:
                runner.phase = Phase.CHECKING
                self._out.append(instructions.PingRunner(runner.runner_id))
            is_served = True
            is_passing = runner.phase is Phase.CHECKING  # 2
        if not is_passing and len(self._waiting) > self._config.max_queue:
            other = self._waiting.give_way(event.priority, event.share)
            if other is None:
                self._out.append(instructions.Refuse(event.ticket, QueueFullError()))  # 3
                return
            self._refuse(other, QueueFullError())
        turn = Turn(event.priority, event.share)
        waiting = Waiting(event.ticket, event.request, event.keep_alive_ns, turn)
        self._waiting.join(waiting, self._now_ns)  # 4
        if is_served:
            self._explain(waiting, "a ping" if is_passing else reasons.load_of(event.request.name))
        elif self._candidate not in self._waiting or not self._waiting.is_plain:
            self._advance()
        if not waiting.explained and (count := self._waiting.count_before(waiting, self._now_ns)):
            # It is not the next one, and changes nothing yet.
            self._explain(waiting, reasons.others_before(count))

    def _on_request_canceled(self, event: events.RequestCanceled) -> None:
        if self._waiting.leave(event.ticket):
            self._advance()
        elif event.ticket in self._leases:
            self._end_lease(event.ticket)

    def _on_lease_ended(self, event: events.LeaseEnded) -> None:
        if event.ticket in self._leases:  # else its runner died before
            self._end_lease(event.ticket)

    def _end_lease(self, ticket: int) -> None:
        runner = self._leases.pop(ticket)
        runner.lease_count -= 1
        if runner.lease_count:
            return
        runner.last_sign_ns = self._now_ns
        runner.expires_at_ns = self._now_ns + runner.keep_alive_ns
        if runner.keep_alive_ns == 0:
            self._stop(runner, runner.end_reason or reasons.KEEP_ALIVE_ZERO)
        if self._waiting:
            self._advance()

    def _grant(self, ticket: int, keep_alive_ns: int | None, runner: LoadedRunner) -> None:
        if keep_alive_ns is not None:
            runner.keep_alive_ns, runner.end_reason = clamp_keep_alive(keep_alive_ns), ""
        runner.lease_count += 1
        self._leases[ticket] = runner
        self._out.append(instructions.Grant(ticket, runner.runner_id))

    def _grant_waiting(self, waiting: Waiting, runner: LoadedRunner, *, is_next: bool) -> None:
        self._waiting.grant(waiting, self._now_ns, is_next=is_next)
        self._grant(waiting.ticket, waiting.keep_alive_ns, runner)

    def _refuse(self, waiting: Waiting, error: CorralError) -> None:
        self._waiting.leave(waiting.ticket)
        self._out.append(instructions.Refuse(waiting.ticket, error))

    def _explain(self, waiting: Waiting, reason: str) -> None:
        if waiting.explained != reason:
            waiting.explained = reason
            self._out.append(instructions.Explain(waiting.ticket, reason))

    # --- runners -----------------------------------------------------------------------------------------

    def _on_load_progressed(self, event: events.LoadProgressed) -> None:
        runner = self._runners.get(event.runner_id)
        if runner is not None and runner.phase is Phase.LOADING:
            runner.last_sign_ns = self._now_ns
            runner.load_share = max(runner.load_share, event.share)

    def _on_load_succeeded(self, event: events.LoadSucceeded) -> None:
        runner = self._runners[event.runner_id]
        if runner.phase is not Phase.LOADING:
            return  # aborted: `RunnerStopped` follows
        runner.phase = Phase.READY
        if event.spec is not None:
            runner.plan = replace(runner.plan, spec=event.spec)
        runner.load = event.load
        runner.fallback = fallback_of(runner, self._config, self._machine, had_gpus=self._had_gpus)
        # One load serves all who wait for it, before anybody can evict it again.
        served = set(self._waiting_for(runner))
        for waiting in self._waiting.order(self._now_ns):
            if waiting in served:
                self._grant_waiting(waiting, runner, is_next=True)
        self._advance()

    def _on_load_failed(self, event: events.LoadFailed) -> None:
        runner = self._runners[event.runner_id]
        if runner.phase is not Phase.LOADING:
            return
        waiters = self._waiting_for(runner)
        self._forget(runner)
        retry, error, has_others = None, event.error, bool(self._runners)
        if event.is_out_of_memory:
            retry = next_retry(
                runner.plan,
                runner.retry,
                runner.origin,
                config_for(runner.origin, self._config),
                self._machine,
                has_others=has_others,
            )
            error = shortage(runner.plan, self._machine, event.error, has_others=has_others)
        for waiting in waiters:
            if retry is None:
                self._refuse(waiting, error)
            else:
                waiting.retry, waiting.failed = retry, runner.spec
        self._advance()

    def _on_runner_exited(self, event: events.RunnerExited) -> None:
        runner = self._runners.get(event.runner_id)
        if runner is None or runner.phase is Phase.STOPPING:
            return
        for ticket in [ticket for ticket, holder in self._leases.items() if holder is runner]:
            del self._leases[ticket]
        runner.lease_count = 0
        self._stop(runner, reasons.OUT_OF_MEMORY if event.is_out_of_memory else reasons.ENDED)
        if event.is_out_of_memory:
            # The others hold what it lacked: let go of each as soon as it is idle.
            for other in groups.movable(runner.origin.name, self.runners, self._config.groups):
                self._expire(other, reasons.room(runner.origin.name, reasons.OUT_OF_MEMORY))
        self._advance()

    def _on_runner_stopped(self, event: events.RunnerStopped) -> None:
        self._forget(self._runners[event.runner_id])
        self._advance()

    def _on_ping_answered(self, event: events.PingAnswered) -> None:
        runner = self._runners.get(event.runner_id)
        if runner is None or runner.phase is not Phase.CHECKING:
            return
        runner.phase = Phase.READY
        runner.last_sign_ns = self._now_ns
        is_expired = runner.keep_alive_ns == 0 and not self._waiting_for(runner)
        if not event.is_healthy:
            self._stop(runner, reasons.UNHEALTHY)
        elif is_expired:
            self._stop(runner, runner.end_reason or reasons.KEEP_ALIVE_ZERO)
        self._advance()

    def _on_unload_requested(self, event: events.UnloadRequested) -> None:
        runner = self._by_key.get(event.weights_key)
        if runner is None:
            return
        if runner.phase in {Phase.LOADING, Phase.CHECKING}:
            # Those who came before this moment no longer decide how long it stays.
            for waiting in self._waiting_for(runner):
                waiting.keep_alive_ns = None
        self._expire(runner, reasons.UNLOAD_REQUESTED)
        self._advance()

    def _on_memory_reported(self, event: events.MemoryReported) -> None:
        self._machine = event.machine
        self._had_gpus = self._had_gpus or bool(event.machine.gpus)
        self._is_measuring = False
        self._is_measured = True
        self._advance()
        # True for this moment only: whoever asks later measures again.
        self._is_measured = False

    def _on_config_changed(self, event: events.ConfigChanged) -> None:
        self._config = event.config
        self._default_keep_alive_ns = clamp_keep_alive(event.config.keep_alive_ns)
        self._victim = None  # by the new settings another one may have to go
        self._advance()

    def _on_machine_resumed(self, _event: events.MachineResumed) -> None:
        for runner in self.runners:
            if runner.plan.is_offloaded:
                self._expire(runner, reasons.RESUMED)
        self._advance()

    def _on_timer_fired(self, _event: events.TimerFired) -> None:
        self._armed_ns = None
        for runner in self.runners:
            deadline = runner.deadline_ns(self._config.load_timeout_ns)
            if deadline is None or deadline > self._now_ns:
                continue
            if runner.phase is Phase.LOADING:
                self._give_up(runner)
            else:
                self._stop(runner, reasons.idle_for(runner.keep_alive_ns))
        self._advance()

    def _give_up(self, stalled: LoadedRunner) -> None:
        what = f"no progress after {stalled.load_share:.0%} of the model"
        for waiting in self._waiting_for(stalled):
            self._refuse(waiting, RunnerStartError(f"timed out waiting for llama-server to start - {what}"))
        self._abort(stalled, reasons.no_progress(self._config.load_timeout_ns, stalled.load_share))

    def _expire(self, runner: LoadedRunner, reason: str) -> None:
        """Unload as soon as it is idle."""
        if runner.phase is Phase.STOPPING:
            return
        runner.keep_alive_ns, runner.end_reason = 0, reason
        if runner.is_idle:
            self._stop(runner, reason)

    def _stop(self, runner: LoadedRunner, reason: str, ticket: int | None = None) -> None:
        runner.phase = Phase.STOPPING
        self._out.append(instructions.StopRunner(runner.runner_id, reason, ticket))
        if self._victim is runner:
            self._victim = None

    def _abort(self, runner: LoadedRunner, reason: str) -> None:
        runner.phase = Phase.STOPPING
        self._out.append(instructions.AbortLoad(runner.runner_id, reason))

    def _forget(self, runner: LoadedRunner) -> None:
        del self._runners[runner.runner_id]
        del self._by_key[runner.spec.weights_key]

    # --- the walk ----------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Grant what can be granted, act for the first of the others, abort a load that nobody waits for."""
        if self._candidate not in self._waiting:
            self._candidate = self._victim = None
        is_pursued = False
        for waiting in self._waiting.order(self._now_ns):
            runner = self._by_key.get(waiting.request.weights_key)
            # Only those after the candidate are kept from its victim.
            is_kept_off = is_pursued and runner is self._victim
            if runner is not None and not is_kept_off and self._serves(runner, waiting.request):
                if runner.phase is Phase.READY:
                    self._grant_waiting(waiting, runner, is_next=not is_pursued)
            elif not is_pursued:
                if self._candidate != waiting.ticket:
                    self._candidate, self._victim = waiting.ticket, None
                is_pursued = not self._pursue(waiting)
        if not is_pursued:
            self._candidate = self._victim = None
        for runner in self.runners:
            if runner.phase is Phase.LOADING and not self._waiting_for(runner):
                self._abort(runner, reasons.UNWANTED)

    def _pursue(self, waiting: Waiting) -> bool:
        """Take the next step towards a runner for the candidate; True once its load has begun, or it is refused."""
        request = waiting.request
        others = self.runners
        for other in others:
            if other.phase in {Phase.LOADING, Phase.STOPPING}:
                is_loading = other.phase is Phase.LOADING
                self._explain(waiting, (reasons.load_of if is_loading else reasons.end_of)(other.origin.name))
                return False
        if not self._had_gpus and placement.must_use_gpus(request, config_for(request, self._config)):
            self._refuse(waiting, no_device(request.name, self._machine))
            return True
        own = self._by_key.get(request.weights_key)
        if own is not None:
            # What it was started with does not serve this request.
            difference = self._difference(own, request)
            waiting.reload_reason = reasons.reload(difference)
            self._evict(waiting, [own], reasons.reload(difference, request.name))
            return False
        rivals, group = groups.rivals(request.name, others, self._config.groups)
        if rivals:
            self._evict(waiting, rivals, reasons.one_at_a_time(group, request.name))
            return False
        # Those that stay anyway do not count.
        movable = groups.movable(request.name, others, self._config.groups)
        limit = placement.max_loaded_models(self._config, self._machine)
        # A victim that is still there was chosen for a reason that still holds: no need to measure again.
        if len(movable) >= limit:
            self._make_room(waiting, movable, reasons.room(request.name, reasons.limit(limit)))
            return False
        if chosen := [other for other in movable if self._victim and other.runner_id in self._victim_ids]:
            self._make_room(waiting, chosen, self._victim_reason)
            return False
        if not self._is_measured:
            if not self._is_measuring:
                self._is_measuring = True
                self._out.append(instructions.ReadMemory())
            return False
        machine = beside(self._machine, others)
        config = config_for(request, self._config)
        plan = placement.plan_load(request, config, machine, waiting.retry)
        if not plan.is_offloaded and placement.must_use_gpus(request, config):
            self._refuse(waiting, no_device(request.name, self._machine))
            return True
        fit = placement.fit(plan, machine)
        if found := in_the_way(plan, movable, is_retry=waiting.retry.is_any, fits=fit.is_enough):
            cause = reasons.OUT_OF_MEMORY if waiting.retry.is_any else reasons.shortfall(fit)
            self._make_room(waiting, found, reasons.room(request.name, cause))
            return False
        staying = [other for other in others if other not in movable]
        if not waiting.retry.is_any and in_the_way(plan, staying, is_retry=False, fits=fit.is_enough):
            named = groups.staying_because(request.name, staying, self._config.groups)
            self._refuse(waiting, kept_beside(request.name, plan, machine, named))
            return True
        self._start(waiting, plan)
        return True

    def _make_room(self, waiting: Waiting, runners: Sequence[LoadedRunner], reason: str) -> None:
        """Evict one; those that stay loaded together with it leave too, each as soon as it is idle."""
        leaving = self._evict(waiting, runners, reason)
        if leaving is None:
            return
        others = groups.movable(waiting.request.name, self.runners, self._config.groups)
        for other, group in groups.companions(leaving, others, self._config.groups):
            self._expire(other, reasons.together(group, leaving.origin.name, reason))

    def _evict(self, waiting: Waiting, runners: Sequence[LoadedRunner], reason: str) -> LoadedRunner | None:
        """Stop the first idle one in the order of eviction, else keep new leases off the first (sticky)."""
        order = eviction_order(runners)
        self._victim_ids = frozenset(runner.runner_id for runner in runners)
        idle = next((runner for runner in order if runner.is_idle), None)
        if idle is not None:
            self._stop(idle, reason, waiting.ticket)
            self._victim = None
            self._explain(waiting, reasons.end_of(idle.origin.name))
            return idle
        if self._victim is None:
            self._victim, self._victim_reason = order[0], reason
        self._explain(waiting, f"{self._victim.origin.name} to become idle ({reason})")
        return None

    def _start(self, waiting: Waiting, plan: Plan) -> None:
        asked_ns, default_ns = waiting.keep_alive_ns, self._default_keep_alive_ns
        waiting.turn.is_fixed = True
        runner = LoadedRunner(
            runner_id=self._next_runner_id,
            origin=waiting.request,
            plan=plan,
            keep_alive_ns=default_ns if asked_ns is None else clamp_keep_alive(asked_ns),
            last_sign_ns=self._now_ns,
            retry=waiting.retry,
        )
        self._next_runner_id += 1
        self._runners[runner.runner_id] = runner
        self._by_key[plan.spec.weights_key] = runner
        self._is_measured = False
        reason = waiting.reload_reason or reasons.NOT_LOADED
        if waiting.failed is not None:
            reason = reasons.retry(waiting.failed, plan.spec)
        predicted_bytes = plan.estimate.total_bytes
        self._out.append(
            instructions.StartLoad(runner.runner_id, plan.spec, reason, waiting.ticket, predicted_bytes)
        )
        self._explain(waiting, reasons.load_of(waiting.request.name))

    # --- questions ---------------------------------------------------------------------------------------

    def _serves(self, runner: LoadedRunner, request: LoadRequest) -> bool:
        """Whether this runner serves the request, now or once it is ready."""
        if runner.phase is Phase.STOPPING:
            return False
        return request is runner.origin or not self._difference(runner, request)

    def _difference(self, runner: LoadedRunner, request: LoadRequest) -> str:
        if runner.origin.engine != request.engine and not request.takes_any_runner:
            return "other settings of the engine"
        config = config_for(request, self._config)
        return difference(runner.plan.spec, runner.origin, request, config, self._machine)

    def _waiting_for(self, runner: LoadedRunner) -> list[Waiting]:
        key = runner.spec.weights_key
        return [
            waiting
            for waiting in self._waiting.arrived()
            if waiting.request.weights_key == key and self._serves(runner, waiting.request)
        ]

    def _needs_ping(self, runner: LoadedRunner) -> bool:
        idle_ns = self._now_ns - runner.last_sign_ns
        return runner.lease_count == 0 and idle_ns > self._config.ping_after_idle_ns

    def _arm(self) -> None:
        """Ask to be woken for the nearest deadline, unless an earlier wake is on its way."""
        deadlines = (runner.deadline_ns(self._config.load_timeout_ns) for runner in self._runners.values())
        nearest = min((deadline for deadline in deadlines if deadline is not None), default=None)
        if nearest is not None and (self._armed_ns is None or nearest < self._armed_ns):
            self._armed_ns = nearest
            self._out.append(instructions.WakeAt(nearest))
