"""The requests that wait for a runner, and their order."""

from __future__ import annotations

from dataclasses import dataclass

from corral.line import Line, Turn
from corral.priorities import Priority
from corral.runner.interface import RunnerSpec
from corral.scheduler.plan import FIRST, Retry
from corral.scheduler.spec import LoadRequest


@dataclass(slots=True, eq=False)
class Waiting:
    """A request without a runner.

    `failed` is set once its load ran out of memory: how it was started; `retry` is what the next one gives up.
    `reload_reason`: why the runner that was loaded for these weights had to go. `explained`: what it waits for.
    """

    ticket: int
    request: LoadRequest
    keep_alive_ns: int | None
    turn: Turn
    retry: Retry = FIRST
    failed: RunnerSpec | None = None
    reload_reason: str = ""
    explained: str = ""


class WaitingList:
    """In a line, so that classes and keys share what is granted (see `corral.line`)."""

    def __init__(self) -> None:
        self._line = Line()
        self._by_ticket: dict[int, Waiting] = {}
        self._by_turn: dict[Turn, Waiting] = {}

    def __len__(self) -> int:
        return len(self._by_ticket)

    def __contains__(self, ticket: int | None) -> bool:
        return ticket in self._by_ticket

    @property
    def is_plain(self) -> bool:
        """Whether first come is first served."""
        return self._line.is_plain

    def turn_of(self, ticket: int) -> Turn | None:
        found = self._by_ticket.get(ticket)
        return found.turn if found is not None else None

    def join(self, waiting: Waiting, now_ns: int) -> None:
        self._line.join(waiting.turn, now_ns)
        self._by_ticket[waiting.ticket] = self._by_turn[waiting.turn] = waiting

    def leave(self, ticket: int) -> bool:
        """False if it does not wait."""
        waiting = self._by_ticket.pop(ticket, None)
        if waiting is None:
            return False
        del self._by_turn[waiting.turn]
        self._line.leave(waiting.turn)
        return True

    def grant(self, waiting: Waiting, now_ns: int, *, is_next: bool) -> None:
        """It waits no more, and what it gets counts for its class and key. `is_next`: nobody came before it."""
        self._line.charge(waiting.turn, now_ns, is_next=is_next)
        self.leave(waiting.ticket)

    def order(self, now_ns: int) -> list[Waiting]:
        """All of them, who is next first."""
        return [self._by_turn[turn] for turn in self._line.order(now_ns)]

    def count_before(self, waiting: Waiting, now_ns: int) -> int:
        """How many come before it; 0 too if it does not wait any more."""
        if waiting.ticket not in self._by_ticket:
            return 0
        return self._line.position(waiting.turn, now_ns) - 1

    def arrived(self) -> list[Waiting]:
        """All of them in the order of arrival."""
        return list(self._by_ticket.values())

    def give_way(self, priority: Priority, share: str) -> Waiting | None:
        """Who is to be refused for a newcomer; None: the newcomer."""
        turn = self._line.give_way(priority, share)
        return self._by_turn[turn] if turn is not None else None
