"""Random walks through the scheduler: whatever happens in whatever order, the promises hold."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corral.devices import CPU, Machine
from corral.errors import QueueFullError, RunnerStartError
from corral.priorities import PRIORITIES, Priority
from corral.scheduler import events as ev
from corral.scheduler import instructions as ins
from corral.scheduler import placement
from corral.scheduler.loaded import Phase
from corral.scheduler.spec import FOREVER_NS, LoadRequest, MemoryShape, SchedulerConfig
from corral.scheduler.state import SchedulerState
from corral.types import LoadOptions

GIB = 1 << 30
SECOND = 10**9
SIZES_GIB = {"a": 1, "b": 2, "c": 4, "d": 9}
ERROR = RunnerStartError("failed")

Child = Literal["starting", "ready", "pinged", "ending"]


def wish(key: str, num_ctx: int = 0) -> LoadRequest:
    shape = MemoryShape(file_bytes=SIZES_GIB[key] * GIB, n_ctx_train=8192)
    return LoadRequest(Path(f"/m/{key}"), key, key, "d" * 64, LoadOptions(num_ctx=num_ctx), shape=shape)


def machine(free_gib: int) -> Machine:
    return Machine(CPU(2, 2), 16 * GIB, free_gib * GIB)


def is_telling(reason: str) -> bool:
    """Whether a reason is complete: no part of it came out empty."""
    return bool(reason) and not reason.endswith((" ", ":")) and "  " not in reason and "()" not in reason


class World:
    """A loop without tasks: it carries out instructions on imaginary children and checks each one."""

    def __init__(self, config: SchedulerConfig, free_gib: int) -> None:
        self.config = config
        self.machine = machine(free_gib)
        self.state = SchedulerState(config, self.machine)
        self.now = 0
        self.wake_at: int | None = None
        self.ticket = 0
        self.wishes: dict[int, LoadRequest] = {}
        self.children: dict[int, Child] = {}
        self.waiting: set[int] = set()
        self.leases: dict[int, int] = {}
        self.answered: set[int] = set()
        self.canceled: set[int] = set()
        self.is_measuring = False

    def send(self, event: ev.Event) -> None:
        for instruction in self.state.handle(event, self.now):
            self.carry_out(instruction)

    def carry_out(self, instruction: ins.Instruction) -> None:
        match instruction:
            case ins.Grant(ticket, runner):
                self.answer(ticket)
                assert self.children[runner] == "ready"
                self.leases[ticket] = runner
            case ins.Refuse(ticket, error):
                assert str(error)
                self.answer(ticket)
            case ins.Explain(ticket, reason):
                assert is_telling(reason)
                assert ticket in self.waiting
            case ins.StartLoad(runner, spec, reason, ticket):
                assert is_telling(reason)
                assert ticket in self.waiting
                self.check_start(spec.weights_key)
                self.children[runner] = "starting"
            case ins.AbortLoad(runner, reason):
                assert is_telling(reason)
                assert self.children[runner] == "starting"
                self.children[runner] = "ending"
            case ins.StopRunner(runner, reason, for_ticket):
                assert is_telling(reason)
                assert for_ticket is None or for_ticket in self.waiting
                assert runner not in self.leases.values(), "a busy runner was stopped"
                assert self.children[runner] in {"ready", "pinged"}
                self.children[runner] = "ending"
            case ins.PingRunner(runner):
                assert self.children[runner] == "ready"
                assert runner not in self.leases.values()
                self.children[runner] = "pinged"
            case ins.ReadMemory():
                assert not self.is_measuring
                self.is_measuring = True
            case ins.WakeAt(at):
                self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def answer(self, ticket: int) -> None:
        assert ticket in self.waiting, "answered twice, or never asked"
        self.waiting.discard(ticket)
        self.answered.add(ticket)

    def check_start(self, key: str) -> None:
        assert "starting" not in self.children.values(), "two loads at once"
        assert "ending" not in self.children.values(), "a load before the memory is back"
        assert len(self.children) < placement.max_loaded_models(self.config, self.machine)
        loaded = next(r for r in self.state.runners if r.phase is Phase.LOADING)
        assert loaded.spec.weights_key == key
        if self.children:
            assert loaded.plan.estimate.total_bytes <= 0.8 * self.machine.free_bytes

    # what may happen

    def arrive(
        self,
        request: LoadRequest,
        keep_alive_ns: int | None,
        priority: Priority = "normal",
        share: str = "",
    ) -> int:
        self.ticket += 1
        self.wishes[self.ticket] = request
        before = len(self.waiting)
        self.waiting.add(self.ticket)
        self.send(ev.RequestArrived(self.ticket, request, keep_alive_ns, priority, share))
        if before > self.config.max_queue and len(self.waiting) > before:
            # Only those who await a ping need no place in the queue.
            [runner] = [r.runner_id for r in self.state.runners if r.spec.weights_key == request.weights_key]
            assert self.children[runner] == "pinged", "the queue is longer than allowed"
        return self.ticket

    def cancel(self, ticket: int) -> None:
        self.waiting.discard(ticket)
        self.leases.pop(ticket, None)
        self.canceled.add(ticket)
        self.send(ev.RequestCanceled(ticket))

    def end_lease(self, ticket: int) -> None:
        del self.leases[ticket]
        self.send(ev.LeaseEnded(ticket))

    def exit(self, runner: int, *, is_out_of_memory: bool) -> None:
        """The child dies; whoever holds it gives the lease back sooner or later, here before."""
        for ticket in [t for t, r in self.leases.items() if r == runner]:
            del self.leases[ticket]
        self.children[runner] = "ready"
        self.send(ev.RunnerExited(runner, is_out_of_memory))

    def finish(self, runner: int, *, is_healthy: bool = True) -> None:
        """The child does what it is about to do."""
        match self.children[runner]:
            case "starting":
                self.children[runner] = "ready"
                self.send(ev.LoadSucceeded(runner))
            case "pinged":
                self.children[runner] = "ready"
                self.send(ev.PingAnswered(runner, is_healthy))
            case "ending":
                del self.children[runner]
                self.send(ev.RunnerStopped(runner))
            case "ready":
                pass

    def fail(self, runner: int, *, is_out_of_memory: bool) -> None:
        del self.children[runner]
        self.send(ev.LoadFailed(runner, ERROR, is_out_of_memory))

    def report(self, free_gib: int) -> None:
        self.machine = machine(free_gib)
        self.is_measuring = False
        self.send(ev.MemoryReported(self.machine))

    def advance(self, duration_ns: int) -> None:
        """Time passes; the timer fires exactly when it was asked for."""
        end = self.now + duration_ns
        while self.wake_at is not None and self.wake_at <= end:
            self.now, self.wake_at = max(self.now, self.wake_at), None
            self.send(ev.TimerFired())
        self.now = end

    def settle(self) -> int:
        """Everything that is under way ends well; the number of steps until nobody waits."""
        steps = 0
        while self.waiting:
            steps += 1
            assert steps < 50 + 20 * self.ticket, f"starved: {self.waiting}"
            if self.is_measuring:
                self.report(12)
            elif pending := next((r for r, child in self.children.items() if child != "ready"), None):
                self.finish(pending)
            elif self.leases:
                self.end_lease(next(iter(self.leases)))
            else:
                raise AssertionError(f"stuck: {self.waiting} wait and nothing is under way")
        return steps


class Walk(RuleBasedStateMachine):
    """Everything in any order."""

    @initialize(
        max_loaded=st.integers(0, 3),
        max_queue=st.sampled_from([0, 1, 3, 512]),
        keep_alive_ns=st.sampled_from([0, SECOND, 300 * SECOND, -1]),
        free_gib=st.integers(1, 16),
        num_parallel=st.sampled_from([0, 1]),
    )
    def begin(
        self, max_loaded: int, max_queue: int, keep_alive_ns: int, free_gib: int, num_parallel: int
    ) -> None:
        config = SchedulerConfig(
            keep_alive_ns=keep_alive_ns,
            max_loaded_models=max_loaded,
            max_queue=max_queue,
            num_parallel=num_parallel,
        )
        self.world = World(config, free_gib)

    @rule(
        key=st.sampled_from("abcd"),
        num_ctx=st.sampled_from([0, 0, 0, 64, 4096]),
        keep_alive_ns=st.sampled_from([None, None, 0, 2 * SECOND, 600 * SECOND, -1]),
        priority=st.sampled_from(["normal", *PRIORITIES]),
        share=st.sampled_from(["", "", "x", "y"]),
    )
    def arrive(
        self, key: str, num_ctx: int, keep_alive_ns: int | None, priority: Priority, share: str
    ) -> None:
        self.world.arrive(wish(key, num_ctx), keep_alive_ns, priority, share)

    @precondition(lambda self: bool(self.world.waiting | self.world.leases.keys()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(sorted(self.world.waiting | self.world.leases.keys()))))

    @precondition(lambda self: self.world.leases)
    @rule(data=st.data())
    def end_lease(self, data: st.DataObject) -> None:
        self.world.end_lease(data.draw(st.sampled_from(sorted(self.world.leases))))

    @precondition(lambda self: self.world.children)
    @rule(data=st.data(), is_healthy=st.booleans())
    def finish(self, data: st.DataObject, is_healthy: bool) -> None:
        self.world.finish(data.draw(st.sampled_from(sorted(self.world.children))), is_healthy=is_healthy)

    @precondition(lambda self: "starting" in self.world.children.values())
    @rule(outcome=st.sampled_from(["fails", "out of memory", "progresses"]))
    def load_goes_on(self, outcome: str) -> None:
        runner = next(r for r, child in self.world.children.items() if child == "starting")
        if outcome == "progresses":
            self.world.send(ev.LoadProgressed(runner, 0.5))
        else:
            self.world.fail(runner, is_out_of_memory=outcome == "out of memory")

    @precondition(lambda self: bool({"ready", "pinged"} & set(self.world.children.values())))
    @rule(data=st.data(), is_out_of_memory=st.booleans())
    def exit(self, data: st.DataObject, is_out_of_memory: bool) -> None:
        alive = sorted(r for r, child in self.world.children.items() if child in {"ready", "pinged"})
        self.world.exit(data.draw(st.sampled_from(alive)), is_out_of_memory=is_out_of_memory)

    @rule(key=st.sampled_from("abcd"))
    def unload(self, key: str) -> None:
        self.world.send(ev.UnloadRequested(key))

    @precondition(lambda self: self.world.is_measuring)
    @rule(free_gib=st.integers(0, 16))
    def report(self, free_gib: int) -> None:
        self.world.report(free_gib)

    @rule(duration_ns=st.sampled_from([1, SECOND, 31 * SECOND, 301 * SECOND]))
    def pass_time(self, duration_ns: int) -> None:
        self.world.advance(duration_ns)

    @invariant()
    def books_agree(self) -> None:
        """The state machine and the world count the same."""
        state = self.world.state
        assert {r.runner_id for r in state.runners} == self.world.children.keys()
        assert state.waiting_count == len(self.world.waiting)
        assert state.lease_count == len(self.world.leases)
        assert len({r.spec.weights_key for r in state.runners}) == len(state.runners)
        for loaded in state.runners:
            held = [t for t, runner in self.world.leases.items() if runner == loaded.runner_id]
            assert loaded.lease_count == len(held)

    @invariant()
    def deadlines_are_armed(self) -> None:
        """No idle runner and no load is without a timer that ends it."""
        for loaded in self.world.state.runners:
            deadline = loaded.deadline_ns(self.world.config.load_timeout_ns)
            if deadline is not None:
                assert self.world.wake_at is not None
                assert self.world.wake_at <= deadline

    @invariant()
    def somebody_acts_for_those_who_wait(self) -> None:
        """While anybody waits, something is under way that will bring it further."""
        if self.world.waiting:
            is_moving = any(child != "ready" for child in self.world.children.values())
            assert is_moving or self.world.is_measuring or self.world.leases

    def teardown(self) -> None:
        """With fair endings nobody starves, and at last everything can be unloaded."""
        if not hasattr(self, "world"):
            return
        self.world.settle()
        assert self.world.answered | self.world.canceled == set(range(1, self.world.ticket + 1))
        while self.world.leases:
            self.world.end_lease(next(iter(self.world.leases)))
        for key in SIZES_GIB:
            self.world.send(ev.UnloadRequested(key))
        while self.world.children:
            self.world.finish(next(iter(self.world.children)))
        assert self.world.state.runners == ()


TestWalk = pytest.mark.slow(Walk.TestCase)
TestWalk.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)


@given(
    others=st.lists(st.sampled_from(["", "", "", "b", "c", "d"]), min_size=10, max_size=30),
    overlap=st.integers(1, 4),
    max_loaded=st.integers(1, 3),
    priority=st.sampled_from(PRIORITIES),
)
@settings(max_examples=60, deadline=None)
def test_nothing_starves_under_constant_use(
    others: list[str], overlap: int, max_loaded: int, priority: Priority
) -> None:
    """One model is asked for at every step and never idle by itself; the others get their turn all the same, also
    where they are less urgent.
    """
    world = World(SchedulerConfig(max_loaded_models=max_loaded, keep_alive_ns=-1), 12)
    arrived_at: dict[int, int] = {}
    for step in range(5 * len(others)):
        for key in ("a", others[step % len(others)]):
            if key:
                urgency: Priority = "interactive" if key == "a" else priority
                arrived_at[world.arrive(wish(key), None, urgency, key)] = step
        if world.is_measuring:
            world.report(12)
        for runner in sorted(world.children):
            if world.children[runner] != "ready":
                world.finish(runner)
        for runner in sorted(world.children):
            # The oldest leases end; while new ones come the runner stays busy.
            held = sorted(ticket for ticket, holder in world.leases.items() if holder == runner)
            is_used = bool(held) and arrived_at[held[-1]] == step
            for ticket in held[: max(len(held) - overlap, 0) if is_used else 1]:
                world.end_lease(ticket)
        for ticket in world.waiting:
            # Each of the others may need a turn first, each turn some steps: a bound, not a measure.
            assert step - arrived_at[ticket] < (100 if priority == "interactive" else 200)
    world.settle()
    assert world.answered == set(arrived_at)


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=40), st.integers(0, 5))
def test_the_queue_refuses_exactly_what_is_too_much(keys: list[str], max_queue: int) -> None:
    """Without any end in between, one more than `max_queue` requests wait and all others get the 503."""
    refused = []
    state = SchedulerState(SchedulerConfig(max_queue=max_queue), machine(8))
    for ticket, key in enumerate(keys):
        out = state.handle(ev.RequestArrived(ticket, wish(key)), 0)
        refused += [i for i in out if isinstance(i, ins.Refuse)]
    assert len(refused) == max(len(keys) - max_queue - 1, 0)
    assert all(isinstance(refusal.error, QueueFullError) for refusal in refused)


@given(st.integers(-(1 << 70), 1 << 70))
def test_any_keep_alive_is_a_number_of_nanoseconds_up_to_for_ever(keep_alive_ns: int) -> None:
    """Whatever a client sends, the time of expiry is finite arithmetic."""
    world = World(SchedulerConfig(), 8)
    ticket = world.arrive(wish("a"), keep_alive_ns)
    world.report(8)
    world.finish(1)
    [loaded] = world.state.runners
    assert 0 <= loaded.keep_alive_ns <= FOREVER_NS
    world.end_lease(ticket)
    assert loaded.expires_at_ns == loaded.keep_alive_ns
