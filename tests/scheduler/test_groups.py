"""Groups of models: who stays beside whom, who leaves with whom, and what the reasons say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corral.configfile.groups import groups_of
from corral.configfile.sections import Group
from corral.errors import InsufficientMemoryError
from corral.scheduler import events as ev
from corral.scheduler import groups as rules
from corral.scheduler import instructions as ins
from corral.scheduler import placement, reasons
from corral.scheduler.spec import SchedulerConfig
from tests.scheduler import test_state_walks as walks
from tests.scheduler.test_state import GIB, Driver, wish

TOGETHER = Group("agents", ("a", "b*"), "together")
APART = Group("big", ("a", "b", "c"), "one-at-a-time")
PINNED = Group("always", ("a",), "pinned")


def stops(d: Driver) -> list[tuple[int, str]]:
    return [(i.runner_id, i.reason) for i in d.out if isinstance(i, ins.StopRunner)]


def names(d: Driver) -> set[str]:
    return {runner.origin.name for runner in d.state.runners}


def refusal(d: Driver) -> InsufficientMemoryError:
    [found] = [i.error for i in d.out if isinstance(i, ins.Refuse)]
    assert isinstance(found, InsufficientMemoryError)
    return found


def test_one_at_a_time_although_there_is_room() -> None:
    d = Driver(groups=(APART,))
    first = d.idle(wish("a"))
    d.idle(wish("x"))
    d.ask(wish("b"))
    assert stops(d) == [(first, "group big: one at a time, and b:latest is next")]
    assert reasons.cause_of(stops(d)[0][1]) == "group"
    d.send(ev.RunnerStopped(first))
    d.send(ev.LoadSucceeded(d.started()))
    assert names(d) == {"b:latest", "x:latest"}


def test_one_at_a_time_waits_for_the_one_that_is_busy() -> None:
    d = Driver(groups=(APART,))
    ticket, first = d.load(wish("a"))
    waiting = d.ask(wish("b"))
    reason = "a:latest to become idle (group big: one at a time, and b:latest is next)"
    assert (waiting, reason) in d.explained()
    d.send(ev.LeaseEnded(ticket))
    assert stops(d) == [(first, "group big: one at a time, and b:latest is next")]


def test_a_pinned_model_makes_no_room() -> None:
    """Not for the limit, which it does not count for, and not for memory."""
    d = Driver(groups=(PINNED,), max_loaded_models=1)
    d.idle(wish("a"))
    second = d.idle(wish("b"))
    assert names(d) == {"a:latest", "b:latest"}
    d.ask(wish("c"))
    assert [runner for runner, _ in stops(d)] == [second]


def test_what_does_not_fit_beside_a_pinned_model_is_refused_with_its_name() -> None:
    d = Driver(groups=(PINNED,), free_gib=10, total_gib=16)
    d.idle(wish("a"))
    other = d.idle(wish("x"))
    d.ask(wish("big", gib=12))
    assert [runner for runner, _ in stops(d)] == [other], "what may leave leaves first"
    d.send(ev.RunnerStopped(other))
    error = refusal(d)
    assert "a:latest (group always)" in str(error) and "big:latest needs" in str(error)
    assert "corral stop" in error.hint and error.needed_bytes > 12 * GIB
    assert names(d) == {"a:latest"}


def test_a_pinned_model_may_still_be_unloaded_and_loaded_again() -> None:
    d = Driver(groups=(PINNED,))
    runner = d.idle(wish("a"))
    d.ask(wish("a", num_ctx=64))
    assert stops(d)[0][0] == runner
    d.send(ev.RunnerStopped(runner))
    again = d.started()
    d.send(ev.LoadSucceeded(again))
    d.send(ev.LeaseEnded(d.ticket))
    d.send(ev.UnloadRequested("a"))
    assert stops(d) == [(again, reasons.UNLOAD_REQUESTED)]


def test_members_never_make_room_for_each_other() -> None:
    d = Driver(groups=(TOGETHER,), max_loaded_models=1)
    d.idle(wish("a"))
    d.idle(wish("b"))
    d.idle(wish("b2"))
    assert names(d) == {"a:latest", "b:latest", "b2:latest"}
    d.machine = Driver(free_gib=0.01, total_gib=64).machine
    d.ask(wish("b3", gib=5))
    assert "group agents" in str(refusal(d))


def test_members_leave_together() -> None:
    """When one makes room for a model outside, the others do too; one that is busy when it is done."""
    d = Driver(groups=(TOGETHER,), max_loaded_models=2)
    first = d.idle(wish("a"), keep_alive_ns=10**9)
    busy, second = d.load(wish("b"))
    d.ask(wish("x"))
    assert stops(d) == [(first, "room for x:latest: limit of 2 loaded models")]
    d.send(ev.RunnerStopped(first))
    d.send(ev.LoadSucceeded(d.started()))
    d.send(ev.LeaseEnded(busy))
    because = "group agents: together with a:latest (room for x:latest: limit of 2 loaded models)"
    assert stops(d) == [(second, because)]


def test_a_reload_takes_nobody_along() -> None:
    d = Driver(groups=(TOGETHER,))
    first = d.idle(wish("a"))
    d.idle(wish("b"))
    d.ask(wish("a", num_ctx=64))
    assert [runner for runner, _ in stops(d)] == [first]
    d.send(ev.RunnerStopped(first))
    d.send(ev.LoadSucceeded(d.started()))
    assert names(d) == {"a:latest", "b:latest"}


def test_a_child_that_ran_out_of_memory_spares_pinned_models() -> None:
    d = Driver(groups=(PINNED,))
    d.idle(wish("a"))
    d.idle(wish("x"))
    _, dying = d.load(wish("y"))
    d.send(ev.RunnerExited(dying, is_out_of_memory=True))
    assert {runner for runner, _ in stops(d)} == {2, dying}


def test_new_groups_hold_at_once() -> None:
    d = Driver(max_loaded_models=1)
    d.load(wish("a"))
    waiting = d.ask(wish("b"))
    assert d.of() == []
    d.send(ev.ConfigChanged(SchedulerConfig(max_loaded_models=1, groups=(PINNED,))))
    second = d.started()
    d.send(ev.LoadSucceeded(second))
    assert d.of() == [ins.Grant(waiting, second)]
    assert names(d) == {"a:latest", "b:latest"}


@pytest.mark.parametrize(
    ("name", "groups"),
    [("a:latest", "agents big always"), ("A:latest", "agents big always"), ("b:v2", "agents"), ("c:v2", "")],
)
def test_groups_of_a_model(name: str, groups: str) -> None:
    """By the rules for sections of models: patterns, any case, `latest` may be left out."""
    assert rules.names_of_groups(name, (TOGETHER, APART, PINNED)) == tuple(groups.split())
    assert rules.is_pinned(name, (TOGETHER, APART, PINNED)) == ("always" in groups)


class GroupWorld(walks.World):
    """Checks beside all others: what the groups promise, at every start and stop."""

    def carry_out(self, instruction: ins.Instruction) -> None:
        if isinstance(instruction, ins.StopRunner):
            self.check_stop(instruction)
        super().carry_out(instruction)

    def name_of(self, runner_id: int) -> str:
        return next(r.origin.name for r in self.state.runners if r.runner_id == runner_id)

    def check_stop(self, stop: ins.StopRunner) -> None:
        name = self.name_of(stop.runner_id)
        makes_room = stop.reason.startswith("room for ") or "room for " in stop.reason
        if makes_room:
            assert not rules.is_pinned(name, self.config.groups), stop.reason
        if makes_room and stop.ticket is not None:
            wanted = self.wishes[stop.ticket].name
            shared = set(groups_of(name, self.config.groups)) & set(groups_of(wanted, self.config.groups))
            assert all(group.mode != "together" for group in shared)

    def check_start(self, key: str) -> None:
        assert "starting" not in self.children.values(), "two loads at once"
        assert "ending" not in self.children.values(), "a load before the memory is back"
        others = [r for r in self.state.runners if r.runner_id in self.children]
        assert not rules.rivals(key, others, self.config.groups)[0]
        counted = rules.movable(key, others, self.config.groups)
        assert len(counted) < placement.max_loaded_models(self.config, self.machine)


class GroupWalk(RuleBasedStateMachine):
    @initialize(
        max_loaded=st.integers(0, 3),
        free_gib=st.integers(1, 16),
        groups=st.lists(
            st.tuples(
                st.sets(st.sampled_from("abcd"), min_size=1),
                st.sampled_from(["together", "one-at-a-time", "pinned"]),
            ),
            max_size=3,
        ),
    )
    def begin(self, max_loaded: int, free_gib: int, groups: list[tuple[set[str], Any]]) -> None:
        found = tuple(
            Group(f"g{i}", tuple(sorted(members)), mode) for i, (members, mode) in enumerate(groups)
        )
        config = SchedulerConfig(max_loaded_models=max_loaded, groups=found)
        self.world = GroupWorld(config, free_gib)

    @rule(key=st.sampled_from("abcd"), num_ctx=st.sampled_from([0, 0, 0, 64]))
    def arrive(self, key: str, num_ctx: int) -> None:
        self.world.arrive(walks.wish(key, num_ctx), None)

    @precondition(lambda self: self.world.leases)
    @rule(data=st.data())
    def end_lease(self, data: st.DataObject) -> None:
        self.world.end_lease(data.draw(st.sampled_from(sorted(self.world.leases))))

    @precondition(lambda self: self.world.children)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.world.finish(data.draw(st.sampled_from(sorted(self.world.children))))

    @precondition(lambda self: "starting" in self.world.children.values())
    @rule()
    def run_out_of_memory(self) -> None:
        runner = next(r for r, child in self.world.children.items() if child == "starting")
        self.world.fail(runner, is_out_of_memory=True)

    @precondition(lambda self: self.world.is_measuring)
    @rule(free_gib=st.integers(0, 16))
    def report(self, free_gib: int) -> None:
        self.world.report(free_gib)

    @invariant()
    def somebody_acts_for_those_who_wait(self) -> None:
        if self.world.waiting:
            is_moving = any(child != "ready" for child in self.world.children.values())
            assert is_moving or self.world.is_measuring or self.world.leases

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


TestGroupWalk = pytest.mark.slow(GroupWalk.TestCase)
TestGroupWalk.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
