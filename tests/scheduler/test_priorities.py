"""Who gets the next model where requests differ in class or key."""

from __future__ import annotations

from collections import Counter

from corral.errors import QueueFullError
from corral.priorities import Priority
from corral.scheduler import events as ev
from corral.scheduler import instructions as ins
from tests.scheduler.test_state import SECOND, Driver, wish


class Classes(Driver):
    """`models` has the model of each ticket."""

    def __init__(self, *, max_queue: int = 512) -> None:
        super().__init__(max_loaded_models=1, max_queue=max_queue)
        self.models: dict[int, str] = {}

    def come(self, model: str, priority: Priority = "normal", share: str = "") -> int:
        self.ticket += 1
        self.models[self.ticket] = model
        self.send(ev.RequestArrived(self.ticket, wish(model), None, priority, share))
        return self.ticket

    def granted(self) -> list[int]:
        return [i.ticket for i in self.out if isinstance(i, ins.Grant)]

    def refused(self) -> list[int]:
        refusals = [i for i in self.out if isinstance(i, ins.Refuse)]
        assert all(isinstance(refusal.error, QueueFullError) for refusal in refusals)
        return [refusal.ticket for refusal in refusals]

    def turn_over(self) -> str:
        """What is loaded becomes idle and makes room for the next; its name. All who want that have it then."""
        for ticket in list(self.state._leases):
            self.send(ev.LeaseEnded(ticket))
        [runner] = self.state.runners
        self.send(ev.RunnerStopped(runner.runner_id))
        started = self.started()
        self.send(ev.LoadSucceeded(started))
        return next(r.spec.weights_key for r in self.state.runners if r.runner_id == started)


def busy(*, max_queue: int = 512) -> Classes:
    """Model `a` is in use, and no other fits beside it."""
    d = Classes(max_queue=max_queue)
    d.load(wish("a"))
    return d


def test_the_urgent_one_is_loaded_first() -> None:
    d = busy()
    for number in range(30):
        d.come(f"b{number}", "batch", "key b")
    urgent = d.come("c", "interactive", "key i")
    assert d.turn_over() == "c"
    assert d.granted() == [urgent]


def test_without_keys_it_is_first_come_first_served() -> None:
    d = busy()
    names = [f"m{number}" for number in range(20)]
    for name in names:
        d.come(name)
    assert d.explained() == [(d.ticket, "19 earlier requests")]
    assert [d.turn_over() for _ in names] == names


def test_a_key_with_many_requests_does_not_block_another() -> None:
    d = busy()
    for number in range(100):
        d.come(f"b{number}", share="key b")
    assert [d.turn_over() for _ in range(3)] == ["b0", "b1", "b2"]
    d.come("c", share="key c")
    assert d.turn_over() == "c"


def test_keys_take_turns() -> None:
    d = busy()
    for share in ("x", "y", "z"):
        for number in range(4):
            d.come(f"{share}{number}", share=share)
    assert Counter(d.turn_over()[0] for _ in range(9)) == {"x": 3, "y": 3, "z": 3}


def test_the_model_that_is_there_serves_the_urgent_before_it_goes() -> None:
    """A batch request waits for the busy model to go; who is more urgent still gets it, who is not does not."""
    d = busy()
    d.come("b", "batch", "key b")
    assert [i.reason for i in d.out if isinstance(i, ins.Explain)] == [
        "a:latest to become idle (room for b:latest: limit of 1 loaded model)"
    ]
    urgent = d.come("a", "interactive", "key i")
    assert d.granted() == [urgent]
    d.come("a", "batch", "key b")
    assert d.granted() == []


def test_batch_gets_its_turn_beside_constant_urgent_use() -> None:
    """Without any time passing: by the parts of the classes alone."""
    d = busy()
    last = d.come("b", "batch", "key b")
    served = 0
    while d.come("a", "interactive", "key i") in d.granted():
        served += 1
        d.send(ev.LeaseEnded(d.ticket))
    assert 0 < served < 20
    assert d.turn_over() == "b"
    assert last in d.granted()


def test_who_waits_ages() -> None:
    d = busy()
    d.come("b", "batch", "key b")
    d.now += 61 * SECOND
    d.come("c", "interactive", "key i")
    assert d.turn_over() == "b"


def test_one_load_serves_all_in_their_order() -> None:
    d = busy()
    slow = [d.come("b", "batch", "key b") for _ in range(3)]
    urgent = d.come("b", "interactive", "key i")
    assert d.turn_over() == "b"
    assert d.granted() == [urgent, *slow]


def test_a_full_queue_has_room_for_the_urgent() -> None:
    """Who has most waiting in the least urgent class gives way, the last one first; nobody whose model is loading."""
    d = busy(max_queue=3)
    slow = [d.come(f"b{number}", "batch", "key b") for number in range(4)]
    urgent = d.come("c", "interactive", "key i")
    assert d.refused() == [slow[-1]]
    late = d.come("b9", "batch", "key b")
    assert d.refused() == [late]
    assert d.state.waiting_count == 4
    assert d.turn_over() == "c"
    assert d.granted() == [urgent]


def test_whoever_displaces_the_candidate_takes_its_place() -> None:
    d = busy(max_queue=0)
    slow = d.come("b", "batch", "key b")
    urgent = d.come("c", "interactive", "key i")
    assert d.refused() == [slow]
    reason = "a:latest to become idle (room for c:latest: limit of 1 loaded model)"
    assert d.explained() == [(urgent, reason)]
    assert d.turn_over() == "c"


def test_a_load_that_has_begun_is_not_given_up_for_room() -> None:
    d = Classes(max_queue=0)
    loading = d.come("b", "batch", "key b")
    d.come("c", "interactive", "key i")
    assert d.refused() == [d.ticket]
    d.send(ev.LoadSucceeded(1))
    assert d.granted() == [loading]


def test_positions_for_those_who_ask() -> None:
    d = busy()
    slow = [d.come(f"b{number}", "batch", "key b") for number in range(3)]
    urgent = d.come("c", "interactive", "key i")
    turns = [d.state.turn_of(ticket) for ticket in (urgent, *slow)]
    assert all(turn is not None for turn in turns)
    assert [turn.line.position(turn, d.now) for turn in turns if turn and turn.line] == [1, 2, 3, 4]
    assert d.state.turn_of(1) is None
