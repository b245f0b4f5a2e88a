"""Finite automata over characters: the texts of patterns, lengths and lists of names, and what they have in common.

A deterministic automaton gives a grammar that the engine reads with one stack, whatever the pattern was. States are
numbers, the first is 0; a transition is a range of code points, both ends included, and a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from corral.chat.grammar.budget import Budget

LAST_CODE = 0x10FFFF
MAX_STATES = 3000
_MAX_NODES = 20_000
Ranges = Sequence[tuple[int, int]]
# What a text may be made of: no half characters, and not the one that no token is.
ALL: Ranges = ((1, 0xD7FF), (0xE000, LAST_CODE))


class TooManyStatesError(ValueError):
    """The automaton would be too large."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence_:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`most` None: without end."""

    item: Node
    least: int
    most: int | None


Node = Chars | Sequence_ | Alternatives | Repeat


@dataclass(frozen=True, slots=True)
class Automaton:
    """Deterministic; transitions of a state are sorted and do not overlap. What has no transition is refused."""

    transitions: tuple[tuple[tuple[int, int, int], ...], ...]
    accepting: frozenset[int]

    @property
    def is_empty(self) -> bool:
        return not self.accepting


class _Nfa:
    """Thompson's construction: states with edges on ranges, and edges that take nothing."""

    def __init__(self, budget: Budget) -> None:
        self.edges: list[list[tuple[int, int, int]]] = []
        self.free: list[list[int]] = []
        self._budget = budget

    def state(self) -> int:
        self._budget.spend(1)
        if len(self.edges) >= _MAX_NODES:
            raise TooManyStatesError("repeats too much")
        self.edges.append([])
        self.free.append([])
        return len(self.edges) - 1

    def add(self, node: Node, start: int) -> int:
        """Add a node after a state; returns the state after it."""
        if isinstance(node, Chars):
            end = self.state()
            self._budget.spend(len(node.ranges))
            self.edges[start] += [(low, high, end) for low, high in _writable(node.ranges)]
            return end
        if isinstance(node, Sequence_):
            for part in node.parts:
                start = self.add(part, start)
            return start
        if isinstance(node, Alternatives):
            end = self.state()
            for option in node.options:
                first = self.state()
                self.free[start].append(first)
                self.free[self.add(option, first)].append(end)
            return end
        return self._add_repeat(node, start)

    def _add_repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.least):
            start = self.add(node.item, start)
        if node.most is None:
            first = self.state()
            self.free[start].append(first)
            self.free[self.add(node.item, first)].append(first)
            end = self.state()
            self.free[first].append(end)
            return end
        end = self.state()
        for _ in range(node.most - node.least):
            self.free[start].append(end)
            inner = self.state()
            self.free[start].append(inner)
            start = self.add(node.item, inner)
        self.free[start].append(end)
        return end

    def closure(self, states: Iterable[int]) -> frozenset[int]:
        seen = set(states)
        waiting = list(seen)
        while waiting:
            for target in self.free[waiting.pop()]:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        self._budget.spend(len(seen))
        return frozenset(seen)


def build(node: Node, budget: Budget) -> Automaton:
    """The automaton of a node.

    Raises:
        TooManyStatesError, WorkLimitError
    """
    nfa = _Nfa(budget)
    first = nfa.state()
    last = nfa.add(node, first)
    start = nfa.closure([first])
    numbers = {start: 0}
    waiting = [start]
    table: list[tuple[tuple[int, int, int], ...]] = []
    for states in waiting:
        edges = [edge for state in states for edge in nfa.edges[state]]
        row = []
        known: dict[frozenset[int], int] = {}
        for low, high, targets in _split(edges, budget):
            if targets not in known:
                closed = nfa.closure(targets)
                if closed not in numbers:
                    numbers[closed] = len(numbers)
                    waiting.append(closed)
                    if len(numbers) > MAX_STATES:
                        raise TooManyStatesError("has too many ways to match")
                known[targets] = numbers[closed]
            row.append((low, high, known[targets]))
        table.append(tuple(_joined(row)))
    accepting = frozenset(number for states, number in numbers.items() if last in states)
    return trimmed(Automaton(tuple(table), accepting))


def _split(edges: Sequence[tuple[int, int, int]], budget: Budget) -> list[tuple[int, int, frozenset[int]]]:
    """Ranges that do not overlap, each with all of its targets."""
    budget.spend(4 * len(edges))
    if len(edges) == 1:
        low, high, target = edges[0]
        return [(low, high, frozenset((target,)))]
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for low, high, target in edges:
        starts.setdefault(low, []).append(target)
        ends.setdefault(high + 1, []).append(target)
    counts: dict[int, int] = {}
    found = []
    points = sorted(starts.keys() | ends.keys())
    for i, point in enumerate(points):
        for target in ends.get(point, ()):
            counts[target] -= 1
            if not counts[target]:
                del counts[target]
        for target in starts.get(point, ()):
            counts[target] = counts.get(target, 0) + 1
        if counts:
            budget.spend(len(counts))
            found.append((point, points[i + 1] - 1, frozenset(counts)))
    return found


def _joined(row: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    joined: list[tuple[int, int, int]] = []
    for low, high, target in row:
        if joined and joined[-1][2] == target and joined[-1][1] + 1 == low:
            joined[-1] = (joined[-1][0], high, target)
        else:
            joined.append((low, high, target))
    return joined


def intersection(first: Automaton, second: Automaton, budget: Budget) -> Automaton:
    """What both accept.

    Raises:
        TooManyStatesError, WorkLimitError
    """
    numbers = {(0, 0): 0}
    waiting = [(0, 0)]
    table: list[tuple[tuple[int, int, int], ...]] = []
    for one, other in waiting:
        row = []
        for low, high, targets in _common(first.transitions[one], second.transitions[other]):
            if targets not in numbers:
                numbers[targets] = len(numbers)
                waiting.append(targets)
                if len(numbers) > MAX_STATES:
                    raise TooManyStatesError("has too many ways to match together with its bounds")
            row.append((low, high, numbers[targets]))
        budget.spend(4 + 2 * len(row))
        table.append(tuple(row))
    accepting = frozenset(
        number for (a, b), number in numbers.items() if a in first.accepting and b in second.accepting
    )
    return trimmed(Automaton(tuple(table), accepting))


def _common(first: Any, second: Any) -> Iterable[tuple[int, int, tuple[int, int]]]:
    i = j = 0
    while i < len(first) and j < len(second):
        low, high = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if low <= high:
            yield low, high, (first[i][2], second[j][2])
        if first[i][1] <= second[j][1]:
            i += 1
        else:
            j += 1


def complement(automaton: Automaton) -> Automaton:
    """What it refuses."""
    if automaton.is_empty:
        return Automaton((_to(0),), frozenset((0,)))
    sink = len(automaton.transitions)
    table = []
    for row in automaton.transitions:
        gaps = difference_of_ranges(ALL, [(low, high) for low, high, _ in row])
        table.append(tuple(sorted([*row, *((low, high, sink) for low, high in gaps)])))
    table.append(_to(sink))
    accepting = frozenset(range(sink + 1)) - automaton.accepting
    return trimmed(Automaton(tuple(table), accepting))


def trimmed(automaton: Automaton) -> Automaton:
    """The same without states that lead to no end, so that no text gets stuck."""
    sources: dict[int, list[int]] = {}
    for state, row in enumerate(automaton.transitions):
        for _, _, target in row:
            sources.setdefault(target, []).append(state)
    alive = set(automaton.accepting)
    waiting = list(alive)
    while waiting:
        for source in sources.get(waiting.pop(), ()):
            if source not in alive:
                alive.add(source)
                waiting.append(source)
    if len(alive) == len(automaton.transitions):
        return automaton
    if 0 not in alive:
        return Automaton(((),), frozenset())
    numbers = {state: number for number, state in enumerate(sorted(alive))}
    table = tuple(
        tuple(
            (low, high, numbers[target])
            for low, high, target in automaton.transitions[state]
            if target in alive
        )
        for state in sorted(alive)
    )
    return Automaton(table, frozenset(numbers[state] for state in automaton.accepting))


def _to(target: int) -> tuple[tuple[int, int, int], ...]:
    """Transitions to a state with any character."""
    return tuple((low, high, target) for low, high in ALL)


def _writable(ranges: Ranges) -> Iterable[tuple[int, int]]:
    """Ranges without characters that no text has."""
    if all(low >= 1 and (high < 0xD800 or low > 0xDFFF) for low, high in ranges):
        return ranges
    return difference_of_ranges(ranges, difference_of_ranges(((0, LAST_CODE),), ALL))


def of_lengths(least: int, most: int | None) -> Automaton:
    """Texts of so many characters. `most` is cut to what an automaton can count."""
    last = min(least if most is None else most, MAX_STATES - 1)
    rows: list[tuple[tuple[int, int, int], ...]] = [_to(i + 1) for i in range(last)]
    rows.append(_to(last) if most is None else ())
    return Automaton(tuple(rows), frozenset(range(min(least, last), last + 1)))


def of_texts(texts: Iterable[str], budget: Budget) -> Automaton:
    """Exactly these texts.

    Raises:
        TooManyStatesError, WorkLimitError
    """
    children: list[dict[str, int]] = [{}]
    ends = set()
    for text in texts:
        at = 0
        budget.spend(len(text) + 1)
        for char in text:
            if char not in children[at]:
                children.append({})
                children[at][char] = len(children) - 1
                if len(children) > MAX_STATES:
                    raise TooManyStatesError("has too many letters")
            at = children[at][char]
        ends.add(at)
    rows = (tuple((ord(char), ord(char), target) for char, target in sorted(row.items())) for row in children)
    return Automaton(tuple(rows), frozenset(ends))


def matches(automaton: Automaton, text: str) -> bool:
    """Whether it accepts a text."""
    state = 0
    for char in text:
        code = ord(char)
        for low, high, target in automaton.transitions[state]:
            if low <= code <= high:
                state = target
                break
        else:
            return False
    return state in automaton.accepting


def merged_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted ranges that neither overlap nor touch."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def difference_of_ranges(
    first: Iterable[tuple[int, int]], second: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """What is in the first ranges and not in the second."""
    found = []
    holes = merged_ranges(second)
    at = 0
    for low, high in merged_ranges(first):
        while at < len(holes) and holes[at][1] < low:
            at += 1
        i = at
        while i < len(holes) and holes[i][0] <= high:
            if low < holes[i][0]:
                found.append((low, holes[i][0] - 1))
            low = holes[i][1] + 1
            i += 1
        if low <= high:
            found.append((low, high))
    return found
