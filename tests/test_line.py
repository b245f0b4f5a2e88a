"""Who is next: classes by weight, keys in equal parts, first come first served, and nobody waits forever."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from corral.errors import InvalidRequestError
from corral.line import AGEING_NS, OLDEST_EVERY, WEIGHTS, Line, Turn
from corral.priorities import PRIORITIES, Priority, lower_of, read_priority

SECOND = 10**9


def filled(*groups: tuple[Priority, str, int], line: Line | None = None) -> tuple[Line, list[Turn]]:
    """A line in which each group has come as a whole, one after the other."""
    line = line or Line()
    turns = [Turn(priority, share) for priority, share, count in groups for _ in range(count)]
    for turn in turns:
        line.join(turn, 0)
    return line, turns


def served(line: Line, count: int, now_ns: int = 0, cost: float = 1.0) -> list[Turn]:
    """Who gets the next places, each given back before the next is taken."""
    found = []
    for _ in range(count):
        turn = line.take(now_ns)
        assert turn is not None
        line.settle(turn, cost)
        found.append(turn)
    return found


@pytest.mark.parametrize("priority", PRIORITIES)
def test_one_key_of_one_class_is_a_plain_queue(priority: Priority) -> None:
    line, turns = filled((priority, "", 100))
    assert line.order(0) == turns
    assert served(line, 100) == turns
    assert line.take(0) is None and len(line) == 0


def test_a_key_with_one_request_comes_before_the_second_of_one_with_many() -> None:
    line, turns = filled(("normal", "many", 100))
    assert served(line, 10) == turns[:10]
    single = Turn("normal", "single")
    line.join(single, 0)
    assert line.position(single, 0) == 1


def test_keys_of_a_class_take_turns() -> None:
    line, _ = filled(("normal", "a", 50), ("normal", "b", 50), ("normal", "c", 3))
    shares = [turn.share for turn in served(line, 9)]
    assert Counter(shares) == {"a": 3, "b": 3, "c": 3}
    assert all(Counter(shares[i : i + 3]) == {"a": 1, "b": 1, "c": 1} for i in (0, 3, 6))


def test_a_key_whose_requests_take_longer_gets_fewer_places() -> None:
    """Parts are counted in what was used, not in requests."""
    line, _ = filled(("normal", "long", 90), ("normal", "short", 90))
    used: Counter[str] = Counter()
    for _ in range(80):
        turn = line.take(0)
        assert turn is not None
        cost = 9.0 if turn.share == "long" else 1.0
        used[turn.share] += int(cost)
        line.settle(turn, cost)
    # Each 16th place goes by arrival, whatever it costs.
    assert used["long"] < 2 * used["short"]


def test_classes_get_places_by_weight() -> None:
    line, _ = filled(("batch", "", 300), ("normal", "", 300), ("interactive", "", 300))
    found = Counter(turn.priority for turn in served(line, 13 * 16))
    by_arrival = 13
    for priority, weight in WEIGHTS.items():
        assert abs(found[priority] - weight * 16) <= by_arrival + 1


def test_interactive_comes_next_whatever_waits() -> None:
    line, turns = filled(("batch", "b", 30))
    assert served(line, 2) == turns[:2]
    urgent = Turn("interactive", "i")
    line.join(urgent, SECOND)
    assert line.take(SECOND) is urgent


def test_an_idle_class_saves_nothing_up() -> None:
    """Hundreds of requests of one class do not have to be made up for when another comes."""
    line, _ = filled(("interactive", "i", 500), ("batch", "b", 500))
    served(line, 200)
    line.join(Turn("normal", "n"), 0)
    for _ in range(30):
        line.join(Turn("normal", "n"), 0)
    found = Counter(turn.priority for turn in served(line, 26))
    assert 6 <= found["normal"] <= 11


def test_a_request_ages_by_a_class_each_30_seconds() -> None:
    line, [old] = filled(("batch", "b", 1))
    for share in ("n", "m"):
        line.join(Turn("normal", share), AGEING_NS - 1)
    assert line.position(old, AGEING_NS - 1) == 3
    assert line.position(old, AGEING_NS) == 1  # normal now, and the first of them
    line.join(Turn("interactive", "i"), 2 * AGEING_NS - 1)
    assert line.position(old, 2 * AGEING_NS) == 1


def test_who_leaves_is_not_waited_for() -> None:
    line, turns = filled(("normal", "a", 3), ("batch", "b", 2))
    for turn in (turns[0], turns[2], turns[4]):
        line.leave(turn)
    assert line.order(0) == [turns[1], turns[3]]


def test_a_full_line_turns_the_least_urgent_away() -> None:
    line, turns = filled(("interactive", "i", 9), ("normal", "n", 5), ("batch", "b", 2), ("batch", "c", 3))
    assert line.give_way("normal", "x") is turns[-1]
    assert line.give_way("batch", "b") is None, "with it, b has as many as c"
    assert line.give_way("batch", "c") is None
    assert line.give_way("batch", "x") is turns[-1]
    plain, _ = filled(("normal", "", 5))
    assert plain.give_way("normal", "") is None
    assert plain.give_way("batch", "") is None
    fixed = Line()
    for _ in range(3):
        fixed.join(Turn("batch", "b", is_fixed=True), 0)
    assert fixed.give_way("normal", "n") is None


def test_new_keys_one_after_the_other_do_not_starve_an_old_one() -> None:
    """Each comes with nothing used; the one that has used much gets a place all the same."""
    line, _ = filled(("normal", "old", 2), ("normal", "first", 1))
    served(line, 2)
    costly = line.take(0)
    assert costly is not None
    line.settle(costly, 1e12)
    last = Turn("normal", "old")
    line.join(Turn("normal", "0"), 0)
    line.join(last, 0)
    for number in range(1, 3 * OLDEST_EVERY):
        line.join(Turn("normal", str(number)), 0)
        if line.take(0) is last:
            return
    raise AssertionError("starved")


class Waiting(RuleBasedStateMachine):
    """Whoever comes and goes in whatever order, the promises hold."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.now = 0
        self.waiting: list[Turn] = []
        self.places: list[Turn] = []
        # Of each that waits: how many places may be given before it has one.
        self.most: dict[Turn, int] = {}

    @rule(
        priority=st.sampled_from(PRIORITIES),
        share=st.sampled_from(["", "a", "b", "c"]),
        count=st.sampled_from([1, 1, 2, 9]),
    )
    def arrive(self, priority: Priority, share: str, count: int) -> None:
        for _ in range(count):
            turn = Turn(priority, share)
            self.most[turn] = OLDEST_EVERY * (len(self.waiting) + 1)
            self.line.join(turn, self.now)
            self.waiting.append(turn)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        turn = data.draw(st.sampled_from(self.waiting))
        self.line.leave(turn)
        self.waiting.remove(turn)

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 10))
    def give_places(self, count: int) -> None:
        for _ in range(min(count, len(self.waiting))):
            wanted = self.line.order(self.now)[0]
            turn = self.line.take(self.now)
            assert turn is wanted
            self.waiting.remove(turn)
            self.places.append(turn)
            for other in self.waiting:
                self.most[other] -= 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_a_place_to_anybody(self, data: st.DataObject) -> None:
        """As the scheduler does when a model is there that not all of them want."""
        turn = data.draw(st.sampled_from(self.waiting))
        self.line.charge(turn, self.now)
        self.line.leave(turn)
        self.waiting.remove(turn)

    @precondition(lambda self: self.places)
    @rule(data=st.data(), cost=st.sampled_from([0.0, 0.5, 1.0, 1e9]))
    def give_back(self, data: st.DataObject, cost: float) -> None:
        turn = data.draw(st.sampled_from(self.places))
        self.places.remove(turn)
        self.line.settle(turn, cost)

    @rule(duration_ns=st.sampled_from([1, SECOND, 29 * SECOND, 31 * SECOND]))
    def pass_time(self, duration_ns: int) -> None:
        self.now += duration_ns

    @invariant()
    def everybody_has_one_position(self) -> None:
        order = self.line.order(self.now)
        assert len(self.line) == len(order) == len(self.waiting)
        assert set(order) == set(self.waiting)

    @invariant()
    def of_a_key_and_class_the_first_comes_first(self) -> None:
        groups: dict[tuple[str, str], list[int]] = {}
        for turn in self.line.order(self.now):
            groups.setdefault((turn.priority, turn.share), []).append(turn.number)
        assert all(numbers == sorted(numbers) for numbers in groups.values())

    @invariant()
    def nobody_waits_too_long(self) -> None:
        # Places that go to anybody may take those that the oldest would have had.
        assert all(self.most[turn] > 0 for turn in self.waiting)

    def teardown(self) -> None:
        expected = self.line.order(self.now)
        assert [self.line.take(self.now) for _ in expected] == expected
        assert self.line.first(self.now) is None


TestWaiting = pytest.mark.slow(Waiting.TestCase)
TestWaiting.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(
    st.lists(st.tuples(st.sampled_from(PRIORITIES), st.sampled_from("abcd")), min_size=1, max_size=60),
    st.integers(0, 100 * SECOND),
)
def test_all_get_places_within_the_bound(comers: list[tuple[Priority, str]], now_ns: int) -> None:
    """One with n others before it is among the next 16 (n + 1)."""
    line, turns = filled(*((priority, share, 1) for priority, share in comers))
    for place, turn in enumerate(chain.from_iterable(served(line, 1, now_ns) for _ in turns), 1):
        assert place <= OLDEST_EVERY * (turns.index(turn) + 1)


def test_names_of_priorities() -> None:
    assert read_priority(" Batch ", "x") == "batch"
    for text in ("", "high", "0", "batch,normal", "x" * 10_000):
        with pytest.raises(InvalidRequestError, match="X-Corral-Priority") as caught:
            read_priority(text, "X-Corral-Priority")
        assert "interactive, normal, batch" in caught.value.hint and len(str(caught.value)) < 100
    assert lower_of("interactive", "normal") == lower_of("normal", "interactive") == "normal"
    assert lower_of("batch", "interactive") == "batch"
