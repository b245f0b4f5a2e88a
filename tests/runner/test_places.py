"""Places of an engine: who waits gets one in the order of the line, and none is lost, whoever leaves when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral import caller
from corral.caller import Caller
from corral.errors import QueueFullError
from corral.line import Turn
from corral.priorities import PRIORITIES, Priority
from corral.runner.places import Places


class Room:
    """Places that are all taken; `got` has the names of those that got one, in order."""

    def __init__(self, count: int = 1) -> None:
        self.places = Places(count, clock_ns=lambda: 0)
        for _ in range(count):
            self.places.take()
        self.got: list[str] = []
        self.turns: dict[str, Turn] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, priority: Priority = "normal", share: str = "") -> None:
        turn = self.turns[name] = Turn(priority, share)
        self.tasks[name] = asyncio.create_task(self.wait(name, turn))
        await asyncio.sleep(0)

    async def wait(self, name: str, turn: Turn) -> None:
        self.places.join(turn)
        await self.places.wait(turn)
        self.got.append(name)

    async def give_back(self, name: str = "") -> None:
        self.places.give_back(self.turns.get(name))
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_the_urgent_one_comes_first_and_the_others_in_their_order() -> None:
    async def test() -> None:
        room = Room()
        for number in range(5):
            await room.come(f"b{number}", "batch", "b")
        await room.come("i", "interactive", "i")
        await room.give_back()
        for _ in range(5):
            await room.give_back(room.got[-1])
        assert room.got == ["i", "b0", "b1", "b2", "b3", "b4"]
        assert room.places.is_full
        await room.give_back("b4")
        assert not room.places.is_full

    run(test)


def test_whoever_leaves_in_the_moment_of_the_grant_passes_the_place_on() -> None:
    async def test() -> None:
        room = Room()
        await room.come("a")
        await room.come("b")
        room.places.give_back(None)  # the place is a's now, and a does not know yet
        room.tasks["a"].cancel()
        await asyncio.gather(*room.tasks.values(), return_exceptions=True)
        assert room.got == ["b"]
        await room.give_back("b")
        assert not room.places.is_full

    run(test)


def test_whoever_left_is_passed_over() -> None:
    async def test() -> None:
        room = Room()
        for name in "abc":
            await room.come(name)
        room.tasks["a"].cancel()
        await asyncio.sleep(0)
        room.tasks["b"].cancel()
        room.places.give_back(None)  # b is cancelled, and its task has not run yet
        await asyncio.gather(*room.tasks.values(), return_exceptions=True)
        assert room.got == ["c"]

    run(test)


def test_a_full_line_makes_way_for_the_urgent() -> None:
    async def test() -> None:
        room = Room()
        await room.come("a", "batch", "x")
        await room.come("b", "batch", "x")
        room.places.make_way(Turn("interactive", "y"))
        with pytest.raises(QueueFullError):
            await room.tasks["b"]
        with pytest.raises(QueueFullError):
            room.places.make_way(Turn("batch", "x"))
        await room.give_back()
        assert room.got == ["a"]

    run(test)


def test_a_turn_is_that_of_the_caller() -> None:
    places = Places(1)
    assert (places.turn_of_caller().priority, places.turn_of_caller().share) == ("normal", "")
    caller.begin(Caller(priority="batch", share="key x"))
    try:
        turn = places.turn_of_caller(is_fixed=True)
        assert (turn.priority, turn.share, turn.is_fixed) == ("batch", "key x", True)
    finally:
        caller.begin(caller.ANYBODY)


@settings(deadline=None)
@given(
    count=st.integers(1, 3),
    acts=st.lists(
        st.tuples(
            st.sampled_from(["come", "come", "cancel", "give back", "both"]),
            st.sampled_from(PRIORITIES),
            st.sampled_from("xy"),
            st.integers(0, 50),
        ),
        max_size=60,
    ),
)
def test_no_place_is_lost(count: int, acts: list[tuple[str, Priority, str, int]]) -> None:
    """Whatever the order in which they come, leave and are served."""

    async def test() -> None:
        room = Room(count)
        held: list[str | None] = [None] * count
        seen = 0
        for number, (act, priority, share, which) in enumerate(acts):
            waiting = [name for name, task in room.tasks.items() if not task.done()]
            if act == "come" and not room.places.is_full:
                room.places.take()
                held.append(None)
            elif act == "come":
                await room.come(str(number), priority, share)
            if act in ("give back", "both") and held:
                room.places.give_back(room.turns.get(held.pop(which % len(held)) or ""))
            if act in ("cancel", "both") and waiting:
                room.tasks[waiting[which % len(waiting)]].cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            held += room.got[seen:]
            seen = len(room.got)
            is_waited_for = any(not task.done() for task in room.tasks.values())
            assert len(held) <= count
            assert not (is_waited_for and len(held) < count), "a place is free, and somebody waits"
            assert room.places.is_full == (len(held) == count)
        for task in room.tasks.values():
            task.cancel()
        await asyncio.gather(*room.tasks.values(), return_exceptions=True)

    run(test)
