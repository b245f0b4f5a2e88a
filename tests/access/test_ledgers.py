"""The arithmetic of limits, number by number; test_limits.py has the random walks."""

from __future__ import annotations

import pytest

from corral.access.limits import DAY_S, Ledger, Ledgers, Refusal, Window
from corral.caller import Limits


def test_a_window_forgets_after_a_minute() -> None:
    """A tenth of a second is one entry, which leaves when the last of it does."""
    window = Window()
    assert (window.is_empty, window.wait_s(1, 0)) == (True, 60.0)
    window.add(2, 0)
    window.add(3, 0.1)
    window.add(4, 0.2)
    assert (window.total, window.is_empty, len(window._entries)) == (9, False, 2)
    assert [window.wait_s(count, 10) for count in (1, 5, 6, 9)] == pytest.approx([50.1, 50.1, 50.3, 50.3])
    assert window.wait_s(10, 10) == 60.0  # more than there is
    assert window.wait_s(1, 70) == 0.0
    window.forget(60.05)
    assert window.total == 9
    window.forget(60.1)
    assert window.total == 4
    window.forget(60.3)
    assert (window.total, window.is_empty) == (0, True)


def test_one_token_is_enough_to_be_let_in() -> None:
    """And yesterday's, or those of a minute ago, do not count."""
    ledger = Ledger(Limits(tpm=10, tokens_per_day=10))
    ledger.reserve(9, 0)
    assert ledger.day == 0 and ledger.admit(0) is None
    ledger.settle(9, 10, 0)
    assert ledger.admit(0) == Refusal("day", float(DAY_S))
    ledger.look(61, 1)
    assert ledger.tokens.total == 0 and ledger.admit(61) is None


def test_requests() -> None:
    """As many at a time, and as many a minute, as are allowed."""
    ledger = Ledger(Limits(rpm=2, max_parallel=1))
    assert ledger.admit(0) is None
    assert ledger.admit(1) == Refusal("parallel", 1.0)
    ledger.leave()
    assert ledger.admit(10) is None
    ledger.leave()
    refusal = ledger.admit(20)
    assert refusal is not None and refusal.kind == "requests"
    assert refusal.wait_s == pytest.approx(40.1)
    assert ledger.running == 0
    ledger.look(60.1, 0)
    assert ledger.admit(60.1) is None


def test_as_many_have_to_leave_as_there_are_too_many() -> None:
    """The limit of a key may have been lowered."""
    ledger = Ledger(Limits(rpm=3))
    for at_s in (0, 10, 20):
        ledger.admit(at_s)
    ledger.limits = Limits(rpm=1)
    refusal = ledger.admit(30)
    assert refusal is not None and refusal.wait_s == pytest.approx(50.1)


def test_tokens_that_are_left() -> None:
    """The smaller of what the minute and the day allow, without what is reserved."""
    assert Ledger(Limits(rpm=1)).left(0) is None
    ledger = Ledger(Limits(tpm=100, tokens_per_day=300), spent_today=10)
    assert ledger.left(0) == 100
    ledger.tokens.add(30, 0)
    ledger.reserved = 20
    assert ledger.left(0) == 50
    ledger.spent_today = 260
    assert ledger.left(0) == 20
    ledger.spent_today = 290
    assert ledger.left(0) == 0
    assert Ledger(Limits(tokens_per_day=300), spent_today=10).left(0) == 290


def test_tokens_of_a_minute() -> None:
    ledger = Ledger(Limits(tpm=100))
    assert ledger.reserve(100, 0) is None
    assert ledger.reserve(1, 0) == Refusal("tokens", 1.0)  # what runs may give it back
    assert ledger.admit(0) == Refusal("tokens", 1.0)
    ledger.settle(100, 60, 10)
    assert (ledger.reserved, ledger.tokens.total, ledger.spent_today) == (0, 60, 60)
    assert ledger.reserve(40, 20) is None
    # 41 are too many, and what runs cannot give back so much: the 60 have to leave.
    refusal = ledger.reserve(41, 20)
    assert refusal is not None and refusal.kind == "tokens"
    assert refusal.wait_s == pytest.approx(50.1)
    assert ledger.reserved == 40


def test_what_runs_may_give_enough_back() -> None:
    ledger = Ledger(Limits(tpm=100))
    ledger.reserve(40, 0)
    assert ledger.reserve(100, 0) == Refusal("tokens", 1.0)
    refusal = ledger.reserve(101, 0)
    assert refusal is not None and refusal.wait_s == 60.0


def test_tokens_of_a_day() -> None:
    """Until tomorrow, unless what runs may give enough back."""
    ledger = Ledger(Limits(tokens_per_day=100), day=7, spent_today=40)
    assert ledger.reserve(60, 0) is None
    assert ledger.reserve(60, 0) == Refusal("day", 1.0)
    assert ledger.reserve(61, 0) == Refusal("day", float(DAY_S))
    ledger.settle(60, 50, 0)
    assert (ledger.spent_today, ledger.tokens.total) == (90, 0)
    assert ledger.admit(0) is None
    ledger.settle(0, 10, 0)
    assert ledger.admit(0) == Refusal("day", float(DAY_S))
    ledger.look(0, 7)
    assert ledger.spent_today == 100
    ledger.look(0, 8)
    assert (ledger.day, ledger.spent_today) == (8, 0)


def test_nothing_used_is_no_entry() -> None:
    ledger = Ledger(Limits(tpm=100))
    ledger.reserve(10, 0)
    ledger.settle(10, 0, 0)
    assert (ledger.tokens.is_empty, ledger.is_idle) == (True, True)


@pytest.mark.parametrize("what", ["requests", "tokens", "running", "reserved", "spent_today"])
def test_what_must_not_be_forgotten(what: str) -> None:
    ledger = Ledger(Limits())
    assert ledger.is_idle
    if what in {"requests", "tokens"}:
        getattr(ledger, what).add(1, 0)
    else:
        setattr(ledger, what, 1)
    assert not ledger.is_idle


def test_a_ledger_follows_its_key() -> None:
    """It has the limits of now; a new one knows what was spent today, and asks once."""
    asked: list[tuple[str, int]] = []

    def spent(subject: str, day: int) -> int:
        asked.append((subject, day))
        return 5

    ledgers = Ledgers(spent)
    ledger = ledgers.find("a", Limits(rpm=1), 0, 3)
    assert (ledger.spent_today, ledger.day, ledger.limits.rpm, len(ledgers)) == (5, 3, 1, 1)
    ledger.admit(0)
    assert ledgers.find("a", Limits(rpm=2), 100, 4) is ledger
    assert (ledger.spent_today, ledger.day, ledger.limits.rpm, ledger.requests.total) == (0, 4, 2, 0)
    assert asked == [("a", 3)]
    assert Ledgers().find("a", Limits(), 0, 0).spent_today == 0


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Ledgers:
    """A table that has room for two, and two ledgers, of which `a` is the older one."""
    monkeypatch.setattr("corral.access.limits._MAX_SUBJECTS", 2)
    monkeypatch.setattr("corral.access.limits._LOOKS", 2)
    ledgers = Ledgers()
    for subject in ("a", "b"):
        ledgers.find(subject, Limits(), 0, 0)
    return ledgers


def left(ledgers: Ledgers) -> str:
    return "".join(ledgers._ledgers)


def test_the_oldest_idle_one_goes(three: Ledgers) -> None:
    three.find("a", Limits(), 0, 0)  # now `b` is the oldest
    three.find("c", Limits(), 0, 0)
    assert left(three) == "ac"


def test_one_in_use_stays(three: Ledgers) -> None:
    three.find("a", Limits(), 0, 0).running = 1
    three.find("b", Limits(), 0, 0)
    three.find("c", Limits(), 0, 0)
    assert left(three) == "ac"


def test_one_that_has_spent_goes_before_one_in_use(three: Ledgers) -> None:
    """Only where no other is idle; what is old counts no more."""
    three.find("a", Limits(), 0, 0).reserved = 1
    three.find("b", Limits(), 0, 0).spent_today = 1
    three.find("c", Limits(), 0, 0).spent_today = 1
    assert left(three) == "ac"
    three.find("c", Limits(), 0, 0).requests.add(1, 0)
    three.find("d", Limits(), 100, 1)
    assert left(three) == "ad"


def test_an_idle_one_goes_before_an_older_one_that_has_spent(three: Ledgers) -> None:
    three.find("a", Limits(), 0, 0).spent_today = 1
    three.find("b", Limits(), 0, 0)
    three.find("c", Limits(), 0, 0)
    assert left(three) == "ac"


def test_one_whose_use_is_old_is_idle(three: Ledgers) -> None:
    three._ledgers["a"].spent_today = 1
    three._ledgers["b"].requests.add(1, 0)
    three.find("c", Limits(), 100, 0)
    assert left(three) == "ac"


def test_more_than_there_is_room_for(three: Ledgers) -> None:
    """None in use is forgotten; the next time others are looked at."""
    for subject in ("a", "b"):
        three.find(subject, Limits(), 0, 0).running = 1
    three.find("c", Limits(), 0, 0)
    assert left(three) == "cab"
    three.find("d", Limits(), 0, 0)
    assert left(three) == "abd"
