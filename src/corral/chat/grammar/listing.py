"""Members of objects as rules: one list for an object of one shape, an automaton over members for several.

Objects that begin alike share their beginning, so that the engine never has to follow several at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corral.chat.grammar.budget import Budget
from corral.chat.grammar.rules import Rules

_MAX_STATES = 4000


@dataclass(frozen=True, slots=True)
class Listed:
    """Members as they are written, each with whether it is required, then any number of `extra`, if not empty."""

    members: Sequence[tuple[str, bool]]
    extra: str
    least: int
    most: int | None

    @property
    def needs_others(self) -> bool:
        """Whether required members alone are too few."""
        return self.least > sum(is_required for _, is_required in self.members)


def is_plain(listed: Listed) -> bool:
    """Whether the bounds of the number of members hold by themselves."""
    required = sum(is_required for _, is_required in listed.members)
    return listed.least <= required and (
        listed.most is None or (not listed.extra and len(listed.members) <= listed.most)
    )


def one_list(rules: Rules, hint: str, listed: Listed, separator: str) -> str:
    """The members of one shape; empty when there are none. For those whose bounds hold by themselves."""
    return rules.listed(hint, listed.members, separator, listed.extra)


# The shape, the next member, and how many there were, as far as that matters.
_Place = tuple[int, int, int]


def alternatives_of_members(
    rules: Rules, hint: str, shapes: Sequence[Listed], separator: str, budget: Budget
) -> str | None:
    """The members of any of several shapes; None when that would be too large.

    An expression that may be empty when one of the shapes may have no members.
    """
    walker = _Walker(shapes, budget)
    start = frozenset((i, 0, 0) for i in range(len(shapes)))
    names = {start: ""}
    waiting = [start]
    bodies: list[tuple[frozenset[_Place], list[tuple[str, frozenset[_Place]]]]] = []
    for state in waiting:
        steps = walker.steps(state)
        bodies.append((state, steps))
        for _, target in steps:
            if target not in names:
                names[target] = ""
                waiting.append(target)
                if len(names) > _MAX_STATES:
                    return None
    for state in names:
        if state != start:
            names[state] = rules.reserve(f"{hint}-after")
    root = ""
    for state, steps in bodies:
        before = "" if state == start else f"{separator} "
        options = [f"{before}{member} {names[target]}" for member, target in steps]
        if walker.may_end(state):
            options.append('""')
        if state == start:
            root = f"({' | '.join(options)})"
        else:
            rules.define(names[state], " | ".join(options) or '""')
    return root


class _Walker:
    def __init__(self, shapes: Sequence[Listed], budget: Budget) -> None:
        self._shapes = shapes
        self._budget = budget

    def steps(self, state: frozenset[_Place]) -> list[tuple[str, frozenset[_Place]]]:
        """The members that may come next, each with where it leads."""
        found: dict[str, set[_Place]] = {}
        for shape, at, count in sorted(state):
            listed = self._shapes[shape]
            limit = listed.least if listed.most is None else listed.most
            if listed.most is not None and count >= listed.most:
                continue
            after = min(count + 1, limit)
            if at > len(listed.members):
                # Others may have one name, so of them only the first counts towards the least.
                if not listed.needs_others:
                    found.setdefault(listed.extra, set()).add((shape, at, after))
                elif listed.most is None:
                    found.setdefault(listed.extra, set()).add((shape, at, count))
                continue
            for i in range(at, len(listed.members)):
                member, is_required = listed.members[i]
                self._budget.spend(2)
                if self._can_end((shape, i + 1, after)):
                    found.setdefault(member, set()).add((shape, i + 1, after))
                if is_required:
                    break
            else:
                place = (shape, len(listed.members) + 1, after)
                if listed.extra and after >= listed.least:
                    found.setdefault(listed.extra, set()).add(place)
        return [(member, frozenset(places)) for member, places in found.items()]

    def _can_end(self, place: _Place) -> bool:
        """Whether the rest of the members can still meet the bounds."""
        shape, at, count = place
        listed = self._shapes[shape]
        rest = listed.members[at:]
        required = sum(is_required for _, is_required in rest)
        if listed.most is not None and count + required > listed.most:
            return False
        return count + len(rest) + bool(listed.extra) >= listed.least

    def may_end(self, state: frozenset[_Place]) -> bool:
        for shape, at, count in state:
            listed = self._shapes[shape]
            if count >= listed.least and not any(required for _, required in listed.members[at:]):
                return True
        return False
