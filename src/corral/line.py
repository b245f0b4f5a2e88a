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
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from math import inf
from typing import TypeAlias

from corral.priorities import PRIORITIES, Priority

WEIGHTS: dict[Priority, int] = {"interactive": 8, "normal": 4, "batch": 1}
AGEING_NS = 30_000_000_000
OLDEST_EVERY = 16
_WEIGHTS = [WEIGHTS[priority] for priority in PRIORITIES]
# Of the average of costs, what the newest one counts.
_NEWEST_SHARE = 0.2
# Accounts of keys that wait for nothing are forgotten beyond this.
_MAX_ACCOUNTS = 1000

_Key: TypeAlias = "tuple[Priority, str]"


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

    def charge(self, member: Hashable, amount: float, least: float) -> None:
        """`least`: what the one of the others that wait has had which has had least; infinite without others."""
        had = self.of(member)
        self._floor = min(had, least)
        self._had[member] = had + amount

    def forget(self, waiting: Collection[Hashable]) -> None:
        """Forget who does not wait, if there are many."""
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
        self._groups: dict[_Key, deque[Turn]] = {}
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
        heads = [] if self.is_plain else [group[0] for group in self._groups.values()]
        levels = {_level(head, now_ns) for head in heads}
        shares = {head.share for head in heads if _level(head, now_ns) == level}
        keys, cost = books.keys[level], self._expected
        books.classes.charge(level, cost / _WEIGHTS[level], min(map(books.classes.of, levels), default=inf))
        keys.charge(turn.share, cost, min(map(keys.of, shares), default=inf))
        keys.forget({*shares, turn.share})
        return _Bill(level, self._expected, books)

    def settle(self, turn: Turn, cost: float) -> None:
        """A place is given back; `cost` is what it really was."""
        bill, turn.bill = turn.bill, None
        if bill is not None:
            excess = cost - bill.cost
            bill.books.classes.correct(bill.level, excess / _WEIGHTS[bill.level])
            bill.books.keys[bill.level].correct(turn.share, excess)
        self._expected += _NEWEST_SHARE * (cost - self._expected)

    def order(self, now_ns: int) -> list[Turn]:
        """All who wait, as they get places if nobody else comes and time stands still."""
        if self.is_plain:
            return [turn for group in self._groups.values() for turn in group]
        return _Forecast(self._groups, self._books.copy(), self._expected, self._given, now_ns).all()

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
        with_this = books.classes.of(level) + self._expected / _WEIGHTS[level]
        return (with_this, level, books.keys[level].of(turn.share), turn.number)


class _Forecast:
    """`Line.take` again and again, as long as nothing else happens, with as little work as can be."""

    def __init__(
        self,
        groups: Mapping[_Key, Iterable[Turn]],
        books: _Books,
        cost: float,
        given: int,
        now_ns: int,
    ) -> None:
        self._groups = {key: deque(group) for key, group in groups.items()}
        self._books = books
        self._cost = cost
        self._given = given
        self._now_ns = now_ns
        # Of each class: what the shares of groups whose first turn counts for it have had, the number of that turn,
        # and the group. Some are outdated: shares may have had more since, and turns may have left.
        self._heaps: list[list[tuple[float, int, _Key]]] = [[] for _ in PRIORITIES]
        self._by_arrival = deque(sorted((turn for group in groups.values() for turn in group), key=_number))
        for key in self._groups:
            self._enter(key)

    def all(self) -> list[Turn]:
        found = []
        while self._groups:
            key = self._next()
            level = _level(self._groups[key][0], self._now_ns)
            self._charge(level, key[1])
            found.append(self._leave(key))
        return found

    def _enter(self, key: _Key) -> None:
        first = self._groups[key][0]
        level = _level(first, self._now_ns)
        heappush(self._heaps[level], (self._books.keys[level].of(first.share), first.number, key))

    def _next(self) -> _Key:
        if self._given % OLDEST_EVERY == OLDEST_EVERY - 1:
            return self._oldest()
        least = ((self._with_one_more(level), level) for level in range(len(PRIORITIES)) if self._top(level))
        top = self._top(min(least)[1])
        assert top is not None
        return top[2]

    def _oldest(self) -> _Key:
        while True:
            turn = self._by_arrival.popleft()
            key = (turn.priority, turn.share)
            if key in self._groups and self._groups[key][0] is turn:
                return key

    def _top(self, level: int) -> tuple[float, int, _Key] | None:
        """Who is next in a class."""
        heap, keys = self._heaps[level], self._books.keys[level]
        while heap:
            had, number, key = heap[0]
            if key not in self._groups or self._groups[key][0].number != number:
                heappop(heap)
            elif (now_had := keys.of(key[1])) != had:
                heapreplace(heap, (now_had, number, key))
            else:
                return heap[0]
        return None

    def _with_one_more(self, level: int) -> float:
        return self._books.classes.of(level) + self._cost / _WEIGHTS[level]

    def _charge(self, level: int, share: str) -> None:
        classes, top = self._books.classes, self._top(level)
        waiting = (classes.of(each) for each in range(len(PRIORITIES)) if self._top(each))
        classes.charge(level, self._cost / _WEIGHTS[level], min(waiting, default=inf))
        self._books.keys[level].charge(share, self._cost, top[0] if top else inf)
        self._given += 1

    def _leave(self, key: _Key) -> Turn:
        group = self._groups[key]
        turn = group.popleft()
        if group:
            self._enter(key)
        else:
            del self._groups[key]
        return turn


def _number(turn: Turn) -> int:
    return turn.number


def _level(turn: Turn, now_ns: int) -> int:
    """The class that it counts as by now, 0 for the most urgent."""
    aged = max(now_ns - turn.joined_ns, 0) // AGEING_NS
    return max(PRIORITIES.index(turn.priority) - aged, 0)


def _last_movable(group: deque[Turn]) -> Turn | None:
    return next((turn for turn in reversed(group) if not turn.is_fixed), None)
