"""The scheduler's brain: an event and the time in, instructions out. No I/O, no tasks, no clock of its own.

Everything that decides who gets a runner, what is loaded and what is unloaded lives here and nowhere else.

Theory of operation. A request whose runner is ready and compatible is granted at once. All others wait in
one list, first come first served. Whatever changed, `_advance` walks that list: a ticket that a ready
runner can serve is granted, one that a starting runner will serve goes on waiting, and the first that
neither can serve becomes the *candidate*. Only the candidate changes what is loaded: it has its runner
reloaded, or gets room by evicting others, one at a time, and then starts a load. Only one load runs at a
time, because free memory measured during another load means nothing.

The candidate's *victim* is the busy runner that it waits for. It gets no further leases, so it becomes
idle; the requests that still want it queue behind the candidate. That is what makes waiting finite for
everybody.

Invariants (the random walks in the tests check them): a runner with leases is never stopped; each ticket is
answered exactly once, granted or refused, unless it is cancelled; never more runners than allowed; beside
others only a runner that is predicted to fit is started; at most one starts; at most `max_queue` wait
behind the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from corral.devices import Machine
from corral.errors import CorralError, QueueFullError, RunnerStartError
from corral.scheduler import events, instructions, placement
from corral.scheduler.events import Event
from corral.scheduler.instructions import Instruction
from corral.scheduler.residents import Phase, Resident, clamp_keep_alive
from corral.scheduler.shortage import shortage
from corral.scheduler.spec import LoadRequest, Plan, SchedulerConfig


@dataclass(slots=True)
class _Waiting:
    """A request without a runner. `retry` is set once its load ran out of memory."""

    ticket: int
    request: LoadRequest
    keep_alive_ns: int | None
    retry: placement.Retry | None = None


class SchedulerState:
    """Feed it with `handle`; carry out what it returns, in order.

    `machine` is what the machine was at the start: it decides the automatic context and the limit of models.
    """

    def __init__(self, config: SchedulerConfig, machine: Machine) -> None:
        self._config = config
        self._machine = machine
        self._default_keep_alive_ns = clamp_keep_alive(config.keep_alive_ns)
        self._residents: dict[int, Resident] = {}
        self._by_key: dict[str, Resident] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._leases: dict[int, Resident] = {}
        self._candidate: int | None = None
        self._victim: Resident | None = None
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
            events.TimerFired: self._on_timer_fired,
        }

    @property
    def residents(self) -> tuple[Resident, ...]:
        """All runners in the order in which they were started, to look at only."""
        return tuple(self._residents.values())

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

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
        resident = self._by_key.get(event.request.weights_key)
        is_served = is_passing = False
        if resident is not None and resident is not self._victim and self._serves(resident, event.request):
            if resident.phase is Phase.READY and not self._needs_ping(resident):
                self._grant(event.ticket, event.keep_alive_ns, resident)  # 1
                return
            if resident.phase is Phase.READY:
                resident.phase = Phase.CHECKING
                self._out.append(instructions.PingRunner(resident.runner_id))
            is_served = True
            is_passing = resident.phase is Phase.CHECKING  # 2
        if not is_passing and len(self._waiting) > self._config.max_queue:
            self._out.append(instructions.Refuse(event.ticket, QueueFullError()))  # 3
            return
        self._waiting[event.ticket] = _Waiting(event.ticket, event.request, event.keep_alive_ns)  # 4
        if not is_served and self._candidate is None:
            self._advance()  # else the last in the list changes nothing yet

    def _on_request_canceled(self, event: events.RequestCanceled) -> None:
        if self._waiting.pop(event.ticket, None) is not None:
            self._advance()
        elif event.ticket in self._leases:
            self._end_lease(event.ticket)

    def _on_lease_ended(self, event: events.LeaseEnded) -> None:
        if event.ticket in self._leases:  # else its runner died before
            self._end_lease(event.ticket)

    def _end_lease(self, ticket: int) -> None:
        resident = self._leases.pop(ticket)
        resident.lease_count -= 1
        if resident.lease_count:
            return
        resident.last_sign_ns = self._now_ns
        resident.expires_at_ns = self._now_ns + resident.keep_alive_ns
        if resident.keep_alive_ns == 0:
            self._stop(resident)
        if self._waiting:
            self._advance()

    def _grant(self, ticket: int, keep_alive_ns: int | None, resident: Resident) -> None:
        if keep_alive_ns is not None:
            resident.keep_alive_ns = clamp_keep_alive(keep_alive_ns)
        resident.lease_count += 1
        self._leases[ticket] = resident
        self._out.append(instructions.Grant(ticket, resident.runner_id))

    def _refuse(self, waiting: _Waiting, error: CorralError) -> None:
        del self._waiting[waiting.ticket]
        self._out.append(instructions.Refuse(waiting.ticket, error))

    # --- runners -----------------------------------------------------------------------------------------

    def _on_load_progressed(self, event: events.LoadProgressed) -> None:
        resident = self._residents.get(event.runner_id)
        if resident is not None and resident.phase is Phase.LOADING:
            resident.last_sign_ns = self._now_ns
            resident.load_share = max(resident.load_share, event.share)

    def _on_load_succeeded(self, event: events.LoadSucceeded) -> None:
        resident = self._residents[event.runner_id]
        if resident.phase is not Phase.LOADING:
            return  # aborted: `RunnerStopped` follows
        resident.phase = Phase.READY
        # One load serves all who wait for it, before anybody can evict it again.
        for waiting in self._waiting_for(resident):
            del self._waiting[waiting.ticket]
            self._grant(waiting.ticket, waiting.keep_alive_ns, resident)
        self._advance()

    def _on_load_failed(self, event: events.LoadFailed) -> None:
        resident = self._residents[event.runner_id]
        if resident.phase is not Phase.LOADING:
            return
        waiters = self._waiting_for(resident)
        self._forget(resident)
        retry, error = None, event.error
        if event.is_out_of_memory:
            retry = self._retry_after(resident)
            error = shortage(resident.plan, self._machine, event.error, has_others=bool(self._residents))
        for waiting in waiters:
            if retry is None or waiting.retry is not None:
                self._refuse(waiting, error)
            else:
                waiting.retry = retry
        self._advance()

    def _retry_after(self, failed: Resident) -> placement.Retry | None:
        """What to give up after running out of memory; None when there is nothing left."""
        lowered = None
        if failed.origin.options.num_ctx == 0 and not self._config.context_length:
            lowered = placement.lower_tier(failed.spec.num_ctx)
        limit = failed.spec.memory_limit_bytes
        has_more = (
            bool(self._residents)
            or lowered is not None
            or (failed.spec.num_parallel > 1 and self._config.num_parallel == 0)
            or (limit is not None and limit < self._machine.total_bytes)
        )
        return placement.Retry(lowered) if has_more else None

    def _on_runner_exited(self, event: events.RunnerExited) -> None:
        resident = self._residents.get(event.runner_id)
        if resident is None or resident.phase is Phase.STOPPING:
            return
        for ticket in [ticket for ticket, holder in self._leases.items() if holder is resident]:
            del self._leases[ticket]
        resident.lease_count = 0
        self._stop(resident)
        if event.is_out_of_memory:
            # The others hold what it lacked: let go of each as soon as it is idle.
            for other in self.residents:
                self._expire(other)
        self._advance()

    def _on_runner_stopped(self, event: events.RunnerStopped) -> None:
        self._forget(self._residents[event.runner_id])
        self._advance()

    def _on_ping_answered(self, event: events.PingAnswered) -> None:
        resident = self._residents.get(event.runner_id)
        if resident is None or resident.phase is not Phase.CHECKING:
            return
        resident.phase = Phase.READY
        resident.last_sign_ns = self._now_ns
        is_expired = resident.keep_alive_ns == 0 and not self._waiting_for(resident)
        if is_expired or not event.is_healthy:
            self._stop(resident)
        self._advance()

    def _on_unload_requested(self, event: events.UnloadRequested) -> None:
        resident = self._by_key.get(event.weights_key)
        if resident is None:
            return
        if resident.phase in {Phase.LOADING, Phase.CHECKING}:
            # Those who came before this moment no longer decide how long it stays.
            for waiting in self._waiting_for(resident):
                waiting.keep_alive_ns = None
        self._expire(resident)
        self._advance()

    def _on_memory_reported(self, event: events.MemoryReported) -> None:
        self._machine = event.machine
        self._is_measuring = False
        self._is_measured = True
        self._advance()
        # True for this moment only: whoever asks later measures again.
        self._is_measured = False

    def _on_timer_fired(self, _event: events.TimerFired) -> None:
        self._armed_ns = None
        for resident in self.residents:
            deadline = resident.deadline_ns(self._config.load_timeout_ns)
            if deadline is None or deadline > self._now_ns:
                continue
            if resident.phase is Phase.LOADING:
                self._give_up(resident)
            else:
                self._stop(resident)
        self._advance()

    def _give_up(self, stalled: Resident) -> None:
        what = f"no progress after {stalled.load_share:.0%} of the model"
        for waiting in self._waiting_for(stalled):
            self._refuse(waiting, RunnerStartError(f"timed out waiting for llama-server to start - {what}"))
        self._abort(stalled)

    def _expire(self, resident: Resident) -> None:
        """Unload as soon as it is idle."""
        if resident.phase is Phase.STOPPING:
            return
        resident.keep_alive_ns = 0
        if resident.is_idle:
            self._stop(resident)

    def _stop(self, resident: Resident) -> None:
        resident.phase = Phase.STOPPING
        self._out.append(instructions.StopRunner(resident.runner_id))
        if self._victim is resident:
            self._victim = None

    def _abort(self, resident: Resident) -> None:
        resident.phase = Phase.STOPPING
        self._out.append(instructions.AbortLoad(resident.runner_id))

    def _forget(self, resident: Resident) -> None:
        del self._residents[resident.runner_id]
        del self._by_key[resident.spec.weights_key]

    # --- the walk ----------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Grant what can be granted, pursue what the first of the others needs, drop a load nobody wants."""
        if self._candidate not in self._waiting:
            self._candidate = self._victim = None
        is_pursued = False
        for waiting in list(self._waiting.values()):
            resident = self._by_key.get(waiting.request.weights_key)
            # Only those behind the candidate are kept from its victim.
            is_kept_off = is_pursued and resident is self._victim
            if resident is not None and not is_kept_off and self._serves(resident, waiting.request):
                if resident.phase is Phase.READY:
                    del self._waiting[waiting.ticket]
                    self._grant(waiting.ticket, waiting.keep_alive_ns, resident)
            elif not is_pursued:
                if self._candidate != waiting.ticket:
                    self._candidate, self._victim = waiting.ticket, None
                is_pursued = not self._pursue(waiting)
        if not is_pursued:
            self._candidate = self._victim = None
        for resident in self.residents:
            if resident.phase is Phase.LOADING and not self._waiting_for(resident):
                self._abort(resident)

    def _pursue(self, waiting: _Waiting) -> bool:
        """Take the next step towards a runner for the candidate; True once its load has been started."""
        request = waiting.request
        others = self.residents
        if any(r.phase in {Phase.LOADING, Phase.STOPPING} for r in others):
            return False
        own = self._by_key.get(request.weights_key)
        if own is not None:
            self._evict([own])  # reload: what it was started with does not serve this request
            return False
        limit = placement.max_loaded_models(self._config, self._machine)
        # A victim that is still there was chosen for a reason that still holds: no need to measure again.
        if others and (waiting.retry is not None or len(others) >= limit or self._victim is not None):
            self._evict(others)
            return False
        if not self._is_measured:
            if not self._is_measuring:
                self._is_measuring = True
                self._out.append(instructions.ReadMemory())
            return False
        plan = placement.plan_load(request, self._config, self._machine, waiting.retry)
        if others and not placement.fits(plan, self._config, self._machine):
            self._evict(others)
            return False
        self._start(waiting, plan)
        return True

    def _evict(self, residents: list[Resident] | tuple[Resident, ...]) -> None:
        """Stop the first idle one in the order of eviction, else keep new leases off the first (sticky)."""
        order = placement.eviction_order(residents)
        idle = next((resident for resident in order if resident.is_idle), None)
        if idle is not None:
            self._stop(idle)
            self._victim = None
        elif self._victim is None:
            self._victim = order[0]

    def _start(self, waiting: _Waiting, plan: Plan) -> None:
        keep_alive_ns = waiting.keep_alive_ns
        resident = Resident(
            runner_id=self._next_runner_id,
            origin=waiting.request,
            plan=plan,
            keep_alive_ns=self._default_keep_alive_ns
            if keep_alive_ns is None
            else clamp_keep_alive(keep_alive_ns),
            last_sign_ns=self._now_ns,
        )
        self._next_runner_id += 1
        self._residents[resident.runner_id] = resident
        self._by_key[plan.spec.weights_key] = resident
        self._is_measured = False
        self._out.append(instructions.StartLoad(resident.runner_id, plan.spec))

    # --- questions ---------------------------------------------------------------------------------------

    def _serves(self, resident: Resident, request: LoadRequest) -> bool:
        """Whether this runner serves the request, now or once it is ready."""
        if resident.phase is Phase.STOPPING:
            return False
        return request is resident.origin or placement.is_compatible(
            resident.plan.spec, resident.origin, request, self._config, self._machine
        )

    def _waiting_for(self, resident: Resident) -> list[_Waiting]:
        key = resident.spec.weights_key
        return [
            waiting
            for waiting in self._waiting.values()
            if waiting.request.weights_key == key and self._serves(resident, waiting.request)
        ]

    def _needs_ping(self, resident: Resident) -> bool:
        idle_ns = self._now_ns - resident.last_sign_ns
        return resident.lease_count == 0 and idle_ns > self._config.ping_after_idle_ns

    def _arm(self) -> None:
        """Ask to be woken for the nearest deadline, unless an earlier wake is on its way."""
        nearest: int | None = None
        for resident in self._residents.values():
            deadline = resident.deadline_ns(self._config.load_timeout_ns)
            if deadline is not None and (nearest is None or deadline < nearest):
                nearest = deadline
        if nearest is not None and (self._armed_ns is None or nearest < self._armed_ns):
            self._armed_ns = nearest
            self._out.append(instructions.WakeAt(nearest))
