"""Automata of texts as rules of a grammar: between the quotes of JSON, or bare as some families write arguments."""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.grammar.automata import Automaton, difference_of_ranges
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.rules import Rules, class_char, literal

# What stands for itself between the quotes; the others need an escape.
_SPECIAL = (*range(0x20), 0x22, 0x5C, 0x7F)
_PRINTED_SPECIAL = (0x22, 0x5C, 0x7F)
_SHORT_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
# A set with most of the control characters does not mean them: nobody does by "anything but a comma".
_MEANT_CONTROLS = 10


def automaton_expression(rules: Rules, automaton: Automaton, budget: Budget, *, is_bare: bool = False) -> str:
    """An expression for the texts of an automaton: its states as rules, chains of them written out.

    `is_bare`: characters stand for themselves, instead of as JSON has them.

    Raises:
        OverflowError: too many rules, or too much work.
    """
    sources = [0] * len(automaton.transitions)
    for row in automaton.transitions:
        for target in {target for _, _, target in row}:
            sources[target] += 1
    sources[0] += 1
    names: dict[int, str] = {}
    waiting: list[int] = []

    def name_of(state: int) -> str:
        if state not in names:
            names[state] = rules.reserve("text")
            waiting.append(state)
        return names[state]

    def body(state: int) -> str:
        options = ['""'] if state in automaton.accepting else []
        options += [path(chars, target) for chars, target in _grouped(automaton, state, is_bare)]
        return " | ".join(options) or '""'

    def path(chars: str, target: int) -> str:
        parts = [chars]
        while sources[target] == 1 and target not in automaton.accepting and target:
            budget.spend(4)
            groups = _grouped(automaton, target, is_bare)
            if len(groups) != 1:
                break
            parts.append(groups[0][0])
            target = groups[0][1]
        if automaton.transitions[target]:
            parts.append(name_of(target))
        return " ".join(_glued(parts))

    expression = name_of(0)
    while waiting:
        state = waiting.pop()
        budget.spend(4 + 4 * len(automaton.transitions[state]))
        rules.define(names[state], body(state))
    return expression


def _grouped(automaton: Automaton, state: int, is_bare: bool) -> list[tuple[str, int]]:
    """The characters that lead to each target, as an expression."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    for low, high, target in automaton.transitions[state]:
        ranges.setdefault(target, []).append((low, high))
    found = ((_chars(these, is_bare), target) for target, these in ranges.items())
    return [(chars, target) for chars, target in found if chars]


def _glued(parts: list[str]) -> list[str]:
    """Neighbouring literals as one."""
    glued: list[str] = []
    for part in parts:
        if glued and part.startswith('"') and glued[-1].startswith('"'):
            glued[-1] = glued[-1][:-1] + part[1:]
        else:
            glued.append(part)
    return glued


def in_string(code: int) -> str:
    """A character as it stands inside a JSON string."""
    if code in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[code]
    return f"\\u{code:04x}" if code < 0x20 else chr(code)


def _chars(ranges: Sequence[tuple[int, int]], is_bare: bool) -> str:
    """An expression for one character out of ranges; empty if there is none that a model can write."""
    controls = sum(max(0, min(high, 0x1F) - low + 1) for low, high in ranges)
    if controls > _MEANT_CONTROLS:
        ranges = difference_of_ranges(ranges, [(0, 0x1F)] if not is_bare else [(0, 8), (11, 0x1F)])
    if is_bare:
        return _class(ranges)
    special = _SPECIAL if ranges and ranges[0][0] < 0x20 else _PRINTED_SPECIAL
    named = [code for code in special if any(low <= code <= high for low, high in ranges)]
    plain = difference_of_ranges(ranges, [(code, code) for code in named]) if named else ranges
    escaped = [code for code in named if code != 0x7F]
    options = ([_class(plain)] if plain else []) + [literal(in_string(code)) for code in escaped]
    return options[0] if len(options) == 1 else f"({' | '.join(options)})" if options else ""


def _class(ranges: Sequence[tuple[int, int]]) -> str:
    if not ranges:
        return ""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return literal(chr(ranges[0][0]))
    body = "".join(
        class_char(chr(low)) if low == high else f"{class_char(chr(low))}-{class_char(chr(high))}"
        for low, high in ranges
    )
    return f"[{body}]"
