"""A line of requests that wait for the same thing, and who is next. Pure: no tasks, no clock of its own.

Classes share what there is by weight: of what is given out while all of them wait, `interactive` gets 8 parts,
`normal` 4 and `batch` 1. Within a class, keys get equal parts, however many requests each has waiting. Within a key,
first come is first served. So a line with one class and one key is a plain queue.

A request ages by a class each 30 s. Whatever the parts say, each 16th place goes to the request that came first:
one with n others before it gets a place among the next 16 (n + 1).

What a place costs is known when it is given back, so an average is charged, and the difference is settled then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

from corral.priorities import PRIORITIES, Priority

WEIGHTS: dict[Priority, int] = {"interactive": 8, "normal": 4, "batch": 1}
AGEING_NS = 30_000_000_000
OLDEST_EVERY = 16
# Of the average of costs, what the newest one counts.
_NEWEST_SHARE = 0.2
# Accounts of keys that wait for nothing are forgotten beyond this.
_MAX_ACCOUNTS = 1000


@dataclass(slots=True, eq=False)
class Turn:
    """One request in a line. `share` is whose part it takes: all with the same text have one together.

    `is_fixed`: it is never turned away for another one. The rest belongs to the line.
    """

    priority: Priority
    share: str
    is_fixed: bool = False
    line: Line | None = None
    number: int = 0
    joined_ns: int = 0
    bill: _Bill | None = None


class _Accounts:
    """What each member has had. Whoever has had least is next; one that was away begins where the others are."""

    __slots__ = ("_floor", "_had")

    def __init__(self) -> None:
        self._floor = 0.0
        self._had: dict[Hashable, float] = {}

    def copy(self) -> _Accounts:
        copy = _Accounts()
        copy._floor, copy._had = self._floor, dict(self._had)
        return copy

    def of(self, member: Hashable) -> float:
        return max(self._had.get(member, self._floor), self._floor)

    def charge(self, member: Hashable, amount: float, waiting: Collection[Hashable]) -> None:
        """`waiting`: all members that wait, the one that is charged too."""
        had = self.of(member)
        self._floor = min(map(self.of, waiting))
        self._had[member] = had + amount
        if len(self._had) > _MAX_ACCOUNTS:
            self._had = {known: had for known, had in self._had.items() if known in waiting}

    def correct(self, member: Hashable, amount: float) -> None:
        if member in self._had:
            self._had[member] += amount


@dataclass(frozen=True, slots=True)
class _Bill:
    """What a turn was charged, and in which accounts."""

    level: int
    cost: float
    books: _Books


@dataclass(slots=True)
class _Books:
    """Accounts of the classes, and in each class those of the keys."""

    classes: _Accounts = field(default_factory=_Accounts)
    keys: list[_Accounts] = field(default_factory=lambda: [_Accounts() for _ in PRIORITIES])

    def copy(self) -> _Books:
        return _Books(self.classes.copy(), [accounts.copy() for accounts in self.keys])


class Line:
    """`expected_cost`: of a place, before any was given back; in whatever unit `settle` gets."""

    def __init__(self, expected_cost: float = 1.0) -> None:
        self._expected = expected_cost
        # By class and share, in the order of arrival. None of them is empty.
        self._groups: dict[tuple[Priority, str], deque[Turn]] = {}
        self._books = _Books()
        self._number = 0
        self._given = 0

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    @property
    def is_plain(self) -> bool:
        """Whether first come is first served for all who wait."""
        return len(self._groups) < 2

    def join(self, turn: Turn, now_ns: int) -> None:
        """The turn waits from now on."""
        self._number += 1
        turn.line, turn.number, turn.joined_ns = self, self._number, now_ns
        self._groups.setdefault((turn.priority, turn.share), deque()).append(turn)

    def leave(self, turn: Turn) -> None:
        """It does not wait any more. Without anybody who waits, nobody is ahead of anybody either."""
        key = (turn.priority, turn.share)
        group = self._groups[key]
        group.remove(turn)
        if not group:
            del self._groups[key]
        if not self._groups:
            self._books = _Books()

    def first(self, now_ns: int) -> Turn | None:
        """Who is next."""
        heads = [group[0] for group in self._groups.values()]
        if len(heads) < 2:
            return heads[0] if heads else None
        if self._given % OLDEST_EVERY == OLDEST_EVERY - 1:
            return min(heads, key=lambda turn: turn.number)
        return min(heads, key=lambda turn: self._rank(turn, now_ns))

    def take(self, now_ns: int) -> Turn | None:
        """Who is next gets a place: it is charged, and leaves the line."""
        turn = self.first(now_ns)
        if turn is not None:
            self.charge(turn, now_ns)
            self.leave(turn)
        return turn

    def charge(self, turn: Turn, now_ns: int, *, is_next: bool = True) -> None:
        """A turn that still waits gets a place. `is_next`: because it is the first of them."""
        turn.bill = self._charge(turn, now_ns)
        self._given += is_next

    def _charge(self, turn: Turn, now_ns: int) -> _Bill:
        level, books = _level(turn, now_ns), self._books
        heads = [group[0] for group in self._groups.values()]
        levels = [_level(head, now_ns) for head in heads]
        shares = [head.share for head, of in zip(heads, levels, strict=True) if of == level]
        books.classes.charge(level, self._expected / WEIGHTS[PRIORITIES[level]], [*levels, level])
        books.keys[level].charge(turn.share, self._expected, [*shares, turn.share])
        return _Bill(level, self._expected, books)

    def settle(self, turn: Turn, cost: float) -> None:
        """A place is given back; `cost` is what it really was."""
        bill, turn.bill = turn.bill, None
        if bill is not None:
            excess = cost - bill.cost
            bill.books.classes.correct(bill.level, excess / WEIGHTS[PRIORITIES[bill.level]])
            bill.books.keys[bill.level].correct(turn.share, excess)
        self._expected += _NEWEST_SHARE * (cost - self._expected)

    def order(self, now_ns: int) -> list[Turn]:
        """All who wait, as they get places if nobody else comes and time stands still."""
        if self.is_plain:
            return [turn for group in self._groups.values() for turn in group]
        ahead = Line(self._expected)
        ahead._groups = {key: deque(group) for key, group in self._groups.items()}
        ahead._books, ahead._given = self._books.copy(), self._given
        found: list[Turn] = []
        while (turn := ahead.first(now_ns)) is not None:
            ahead._charge(turn, now_ns)
            ahead._given += 1
            ahead.leave(turn)
            found.append(turn)
        return found

    def position(self, turn: Turn, now_ns: int) -> int:
        """1 for who is next."""
        return self.order(now_ns).index(turn) + 1

    def give_way(self, priority: Priority, share: str) -> Turn | None:
        """Who has to leave a full line for a newcomer; None: the newcomer itself.

        It is the last of the least urgent class, there of the share that has most waiting.
        """
        mine = (priority, share)
        sizes = {key: len(group) for key, group in self._groups.items() if _last_movable(group)}
        sizes[mine] = sizes.get(mine, 0) + 1
        worst = max(sizes, key=lambda key: (PRIORITIES.index(key[0]), sizes[key], key == mine))
        return None if worst == mine else _last_movable(self._groups[worst])

    def _rank(self, turn: Turn, now_ns: int) -> tuple[float, int, float, int]:
        level, books = _level(turn, now_ns), self._books
        # With this one: so of classes that come together, the heavier one gets several places first.
        with_this = books.classes.of(level) + self._expected / WEIGHTS[PRIORITIES[level]]
        return (with_this, level, books.keys[level].of(turn.share), turn.number)


def _level(turn: Turn, now_ns: int) -> int:
    """The class that it counts as by now, 0 for the most urgent."""
    aged = max(now_ns - turn.joined_ns, 0) // AGEING_NS
    return max(PRIORITIES.index(turn.priority) - aged, 0)


def _last_movable(group: deque[Turn]) -> Turn | None:
    return next((turn for turn in reversed(group) if not turn.is_fixed), None)
