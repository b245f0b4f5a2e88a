"""How much somebody may use: requests and tokens a minute, tokens a day, requests at a time. Pure: times are given.

A minute is any 60 seconds, not a minute of the clock, so a limit holds over every one of them; times are of a clock
that nobody sets. Tokens are reserved before they are made and settled at the end: what runs at the same time cannot
exceed a limit together.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from corral.caller import Limits

WINDOW_S = 60.0
DAY_S = 86_400
# What happened within a tenth of a second is one entry, and leaves when the last of it does: memory is bounded.
_GRAIN_S = 0.1
_MAX_SUBJECTS = 4096
# How many of the oldest ledgers are looked at for room: strangers from ever new addresses must not cost more.
_LOOKS = 16

Kind = Literal["requests", "tokens", "day", "parallel"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is used up, and when there will be more of it, in seconds."""

    kind: Kind
    wait_s: float


class Window:
    """A sum over the last 60 seconds."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque()
        self.total = 0

    def forget(self, now_s: float) -> None:
        """Let go of what is older."""
        while self._entries and self._entries[0][0] + WINDOW_S <= now_s:
            self.total -= self._entries.popleft()[1]

    def add(self, count: int, now_s: float) -> None:
        self.total += count
        if self._entries and self._entries[-1][0] >= now_s:
            end_s, before = self._entries.pop()
            self._entries.append((end_s, before + count))
        else:
            self._entries.append((now_s + _GRAIN_S, count))

    def wait_s(self, excess: int, now_s: float) -> float:
        """When `excess` of the sum will have left."""
        for end_s, count in self._entries:
            excess -= count
            if excess <= 0:
                return max(end_s + WINDOW_S - now_s, 0.0)
        return WINDOW_S

    @property
    def is_empty(self) -> bool:
        return not self._entries


class Ledger:
    """What one key or address has used, and has reserved.

    `spent_today` is kept by whoever owns the ledger; `day` is the number of the day in UTC that it belongs to.
    """

    def __init__(self, limits: Limits, *, day: int = 0, spent_today: int = 0) -> None:
        self.limits = limits
        self.requests = Window()
        self.tokens = Window()
        self.reserved = 0
        self.running = 0
        self.day = day
        self.spent_today = spent_today

    def look(self, now_s: float, day: int) -> None:
        """Let go of what no longer counts."""
        self.requests.forget(now_s)
        self.tokens.forget(now_s)
        if day != self.day:
            self.day, self.spent_today = day, 0

    def admit(self, now_s: float) -> Refusal | None:
        """Count a request, or say why it cannot be now. Whoever is admitted has to `leave`."""
        limits = self.limits
        if limits.max_parallel and self.running >= limits.max_parallel:
            return Refusal("parallel", 1.0)
        if limits.rpm and self.requests.total >= limits.rpm:
            return Refusal("requests", self.requests.wait_s(self.requests.total - limits.rpm + 1, now_s))
        if refusal := self._short_of(1, now_s):
            return refusal
        self.running += 1
        self.requests.add(1, now_s)
        return None

    def leave(self) -> None:
        self.running -= 1

    def left(self, now_s: float) -> int | None:
        """How many tokens may be reserved; None: any number."""
        found = [
            limit - used - self.reserved
            for limit, used in (
                (self.limits.tpm, self.tokens.total),
                (self.limits.tokens_per_day, self.spent_today),
            )
            if limit
        ]
        return max(min(found), 0) if found else None

    def reserve(self, count: int, now_s: float) -> Refusal | None:
        """Set tokens aside, or say when there will be so many."""
        if refusal := self._short_of(count, now_s):
            return refusal
        self.reserved += count
        return None

    def settle(self, reserved: int, used: int, now_s: float) -> None:
        """Give tokens back that were set aside, and count those that were used."""
        self.reserved -= reserved
        self.spent_today += used
        if used and self.limits.tpm:
            self.tokens.add(used, now_s)

    def _short_of(self, count: int, now_s: float) -> Refusal | None:
        limits = self.limits
        if limits.tokens_per_day and self.spent_today + self.reserved + count > limits.tokens_per_day:
            return Refusal("day", self._till_tomorrow(count))
        if limits.tpm and (excess := self.tokens.total + self.reserved + count - limits.tpm) > 0:
            # What runs gives some back when it ends.
            return Refusal("tokens", 1.0 if self.reserved >= excess else self.tokens.wait_s(excess, now_s))
        return None

    def _till_tomorrow(self, count: int) -> float:
        """1 where what runs may give enough back; else the caller puts the time of the day in its place."""
        is_running = self.spent_today + count <= self.limits.tokens_per_day
        return 1.0 if is_running else float(DAY_S)

    @property
    def is_idle(self) -> bool:
        """Whether it can be forgotten without anybody gaining by it."""
        nothing = self.requests.is_empty and self.tokens.is_empty
        return nothing and not (self.running or self.reserved or self.spent_today)


class Ledgers:
    """A ledger for each key and address. Their number is bounded: of those that are idle the oldest goes first.

    `spent` gives what a key spent on a day, for a ledger that is new.
    """

    def __init__(self, spent: Callable[[str, int], int] = lambda _subject, _day: 0) -> None:
        self._spent = spent
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ledgers)

    def find(self, subject: str, limits: Limits, now_s: float, day: int) -> Ledger:
        """The ledger of a subject, with the limits that hold now."""
        ledger = self._ledgers.get(subject)
        if ledger is None:
            ledger = self._ledgers[subject] = Ledger(limits, day=day, spent_today=self._spent(subject, day))
            self._make_room(now_s, day)
        else:
            self._ledgers.move_to_end(subject)
            ledger.limits = limits
        ledger.look(now_s, day)
        return ledger

    def _make_room(self, now_s: float, day: int) -> None:
        """Forget an idle one of the oldest ledgers, or else the oldest that nobody uses at the moment."""
        if len(self._ledgers) <= _MAX_SUBJECTS:
            return
        oldest = list(islice(self._ledgers.items(), _LOOKS))
        for is_hard in (False, True):
            for subject, ledger in oldest:
                ledger.look(now_s, day)
                if ledger.is_idle or (is_hard and not (ledger.running or ledger.reserved)):
                    del self._ledgers[subject]
                    return
        for subject, _ in oldest:  # all are in use: others are looked at the next time
            self._ledgers.move_to_end(subject)
