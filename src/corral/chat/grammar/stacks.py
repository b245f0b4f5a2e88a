"""How the engine reads a grammar: as stacks of places, one for each way to read a text so far.

A model of llama.cpp's grammar (src/llama-grammar.cpp): rules are lists of alternatives, bounded repetitions are
written out as separate rules, and stacks that are the same are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corral.chat.grammar.automata import Alternatives, Chars, Ranges, Repeat, Sequence_
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.gbnf import GrammarNode, Named

# More ways than this to go on, and a step takes long enough to be noticed by others.
MAX_STACKS = 1000
_SEARCH_STEPS = 400_000
_MAX_CHARS = 3000
_MAX_CHARS_WITHOUT_GROWTH = 300
_BEAM = 3
_MAX_REPRESENTATIVES = 48
_END = 0  # the stack with nothing on it

# An element of a rule: the characters that it takes, or the number of a rule.
_Element = Ranges | int
_Place = tuple[int, int, int]  # the rule, the alternative, the element


class Stacks:
    """A grammar in the engine's form. `start` gives the stacks before any text, `after` those after a character."""

    def __init__(self, rules: Mapping[str, GrammarNode], budget: Budget) -> None:
        self._budget = budget
        self._rules: list[list[list[_Element]]] = []
        self._numbers: dict[str, int] = {}
        # Stacks are numbers: the top place and the stack below it.
        self._stacks: dict[tuple[_Place, int], int] = {}
        self._known: list[tuple[_Place, int]] = [((-1, 0, 0), _END)]
        for name in rules:
            self._numbers[name] = self._new()
        for name, body in rules.items():
            self._rules[self._numbers[name]] = self._alternatives(body)

    def _new(self) -> int:
        self._rules.append([])
        return len(self._rules) - 1

    def _alternatives(self, node: GrammarNode) -> list[list[_Element]]:
        options = node.options if isinstance(node, Alternatives) else (node,)
        return [self._elements(option) for option in options]

    def _elements(self, node: GrammarNode) -> list[_Element]:
        self._budget.spend(1)
        if isinstance(node, Chars):
            return [node.ranges]
        if isinstance(node, Named):
            return [self._numbers[node.name]]
        if isinstance(node, Sequence_):
            return [element for part in node.parts for element in self._elements(part)]
        if isinstance(node, Alternatives):
            number = self._new()
            self._rules[number] = self._alternatives(node)
            return [number]
        return self._repeated(node)

    def _repeated(self, node: Repeat) -> list[_Element]:
        item = self._elements(node.item)
        self._budget.spend(2 * max(node.least, node.most or 0))
        found = item * node.least
        if node.most is None:
            number = self._new()
            self._rules[number] = [[*item, number], []]
            return [*found, number]
        rest: list[_Element] = []
        for _ in range(node.most - node.least):
            number = self._new()
            self._rules[number] = [[*item, *rest], []]
            rest = [number]
        return found + rest

    def start(self) -> set[int]:
        root = self._numbers["root"]
        return self._opened([self._stack((root, i, 0), _END) for i in range(len(self._rules[root]))])

    def after(self, stacks: Iterable[int], code: int) -> set[int]:
        """The stacks after one more character."""
        taken = []
        for stack in stacks:
            self._budget.spend(1)
            if any(low <= code <= high for low, high in self.expected(stack)):
                (rule, option, at), rest = self._known[stack]
                taken.append(self._stack((rule, option, at + 1), rest))
        return self._opened(taken)

    def expected(self, stack: int) -> Ranges:
        """The characters that an opened stack takes next; none at the end."""
        if stack == _END:
            return ()
        (rule, option, at), _ = self._known[stack]
        element = self._rules[rule][option][at]
        assert not isinstance(element, int)
        return element

    def _stack(self, place: _Place, rest: int) -> int:
        key = (place, rest)
        found = self._stacks.get(key)
        if found is None:
            found = self._stacks[key] = len(self._known)
            self._known.append(key)
        return found

    def _opened(self, todo: list[int]) -> set[int]:
        """Stacks with a set of characters on top: rules there are replaced by their alternatives."""
        seen = set(todo)
        found: set[int] = set()
        while todo:
            stack = todo.pop()
            self._budget.spend(2)
            following = self._next(stack)
            if following is None:
                found.add(stack)
                continue
            for other in following:
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return found

    def _next(self, stack: int) -> list[int] | None:
        """What a stack without characters on top leads to; None when it has them, or is at the end."""
        if stack == _END:
            return None
        (rule, option, at), rest = self._known[stack]
        elements = self._rules[rule][option]
        if at == len(elements):
            return [rest]
        element = elements[at]
        if not isinstance(element, int):
            return None
        after = rest if at + 1 == len(elements) else self._stack((rule, option, at + 1), rest)
        return [self._stack((element, i, 0), after) for i in range(len(self._rules[element]))]


def may_begin_with(rules: Mapping[str, GrammarNode], texts: Iterable[str], budget: Budget) -> bool:
    """Whether a text of the grammar begins with one of `texts`. Raises WorkLimitError."""
    stacks = Stacks(rules, budget)
    for text in texts:
        these = stacks.start()
        for char in text:
            these = stacks.after(these, ord(char))
        if these:
            return True
    return False


def worst_text(rules: Mapping[str, GrammarNode], budget: Budget) -> tuple[str, int]:
    """A text after which there are many stacks, and how many; the search stops when there are too many.

    Raises:
        WorkLimitError
    """
    search = Budget(min(budget.left, _SEARCH_STEPS))
    stacks = Stacks(rules, search)
    beam = [("", stacks.start())]
    worst = ("", len(beam[0][1]))
    known: set[frozenset[int]] = set()
    try:
        for _ in range(_MAX_CHARS):
            beam = _extended(stacks, beam, known)
            if beam and len(beam[0][1]) > worst[1]:
                worst = (beam[0][0], len(beam[0][1]))
            if (
                not beam
                or worst[1] > MAX_STACKS
                or len(beam[0][0]) > len(worst[0]) + _MAX_CHARS_WITHOUT_GROWTH
            ):
                break
    finally:
        budget.spend(min(budget.left, _SEARCH_STEPS) - max(search.left, 0))
    return worst


def _extended(
    stacks: Stacks, beam: list[tuple[str, set[int]]], known: set[frozenset[int]]
) -> list[tuple[str, set[int]]]:
    """The texts that are one character longer and have the most stacks."""
    found = []
    for text, these in beam:
        for code in _representatives(stacks, these):
            after = stacks.after(these, code)
            key = frozenset(after)
            if after and key not in known:
                known.add(key)
                found.append((text + chr(code), after))
    found.sort(key=lambda entry: len(entry[1]), reverse=True)
    return found[:_BEAM]


def _representatives(stacks: Stacks, these: Iterable[int]) -> list[int]:
    """Characters between which the grammar tells, the ones that most stacks take first."""
    counts: dict[int, int] = {}
    for stack in these:
        for low, _ in stacks.expected(stack):
            counts[low] = counts.get(low, 0) + 1
    return sorted(counts, key=lambda code: -counts[code])[:_MAX_REPRESENTATIVES]
