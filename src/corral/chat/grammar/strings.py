"""Strings of a schema: patterns, formats, lengths and excluded values, all of them together in one automaton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corral.chat.grammar.automata import (
    Automaton,
    build,
    complement,
    intersection,
    matches,
    of_lengths,
    of_texts,
)
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.formats import FORMATS
from corral.chat.grammar.gbnf import expression
from corral.chat.grammar.patterns import KNOWN, pattern_automaton
from corral.chat.grammar.rules import MAX_WRITTEN_OUT, Rules
from corral.chat.grammar.texts import automaton_expression

MAX_COUNT = 1_000_000
# Formats that ask for nothing that a grammar could hold, or that nearly every text has.
_FREE_FORMATS = frozenset("password textarea text string byte binary multiline markdown html".split())
_Note = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class StringKeywords:
    """What a string is held to. `mismatches`: patterns that must not match; `excluded`: texts that it must not be."""

    least: int = 0
    most: int | None = None
    patterns: Sequence[str] = ()
    formats: Sequence[str] = ()
    mismatches: Sequence[str] = ()
    excluded: Sequence[str] = ()


def string_expression(rules: Rules, keywords: StringKeywords, budget: Budget, note: _Note) -> str:
    """GBNF for a JSON string. `note(keyword, reason)` is called for each keyword that cannot be held.

    Raises:
        ValueError: no string is left.
        OverflowError: too much work.
    """
    if keywords.most is not None and keywords.most < keywords.least:
        raise ValueError("maxLength is smaller than minLength")
    if simple := _simple(rules, keywords, budget, note):
        return simple
    automaton = text_automaton(keywords, budget, note)
    if automaton is None:
        return _counted(rules, keywords, budget)
    return f'"\\"" {automaton_expression(rules, automaton, budget)} "\\""'


def _simple(rules: Rules, keywords: StringKeywords, budget: Budget, note: _Note) -> str:
    """The expression where no automaton is needed; empty where one is."""
    if keywords.mismatches or keywords.excluded:
        return ""
    has_length = keywords.least > 0 or keywords.most is not None
    patterns = list(dict.fromkeys(keywords.patterns))
    formats = _formats(keywords, note) if not patterns else []
    if not patterns and not formats:
        return _counted(rules, keywords, budget)
    if has_length:
        return ""
    if len(patterns) == 1 and (known := KNOWN.get(patterns[0])):
        return f'"\\"" {known} "\\""'
    if not patterns and len(formats) == 1:
        return f'"\\"" ({FORMATS[formats[0]]}) "\\""'
    return ""


def _formats(keywords: StringKeywords, note: _Note) -> list[str]:
    known = []
    for form in dict.fromkeys(keywords.formats):
        if form in FORMATS:
            known.append(form)
        elif form not in _FREE_FORMATS:
            note("format", f"the format {form!r} is not known")
    return known


def _counted(rules: Rules, keywords: StringKeywords, budget: Budget) -> str:
    if not keywords.least and keywords.most is None:
        return rules.shared("string")
    budget.spend(20 + min(keywords.least, MAX_WRITTEN_OUT) // 10)
    char = rules.shared("char")
    return f'"\\"" {rules.counted(char, keywords.least, keywords.most)} "\\""'


def text_automaton(keywords: StringKeywords, budget: Budget, note: _Note) -> Automaton | None:
    """The texts that fit everything that can be held; None when nothing is asked.

    Raises:
        ValueError: no text is left.
    """
    held: Automaton | None = None
    for keyword, make in _automata(keywords, budget, note):
        try:
            one = make()
            both = one if held is None else intersection(held, one, budget)
        except ValueError as exc:
            note(keyword, str(exc))
            continue
        if both.is_empty:
            raise ValueError(f"no text fits {keyword!r} together with the other keywords")
        held = both
    if held is None and not keywords.least and keywords.most is None:
        return None
    return _with_length(held, keywords, budget, note)


def _automata(
    keywords: StringKeywords, budget: Budget, note: _Note
) -> list[tuple[str, Callable[[], Automaton]]]:
    def fitting(pattern: str) -> Callable[[], Automaton]:
        return lambda: _pattern(pattern, budget)

    def of_format(form: str) -> Callable[[], Automaton]:
        return lambda: build(expression(FORMATS[form]), budget)

    def failing(pattern: str) -> Callable[[], Automaton]:
        return lambda: complement(_pattern(pattern, budget))

    found = [("pattern", fitting(pattern)) for pattern in dict.fromkeys(keywords.patterns)]
    # A text that fits a pattern has nearly always the format too, and both together can be too much.
    formats = _formats(keywords, note) if not keywords.patterns else []
    found += [("format", of_format(form)) for form in formats]
    found += [("not", failing(pattern)) for pattern in keywords.mismatches]
    if keywords.excluded:
        found.append(("not", lambda: complement(of_texts(keywords.excluded, budget))))
    return found


def _pattern(pattern: str, budget: Budget) -> Automaton:
    try:
        return pattern_automaton(pattern, budget)
    except ValueError as exc:
        raise ValueError(f"pattern {pattern[:200]!r}: {exc}") from None


def _with_length(
    held: Automaton | None, keywords: StringKeywords, budget: Budget, note: _Note
) -> Automaton | None:
    if held is None:
        return of_lengths(keywords.least, keywords.most)
    if not keywords.least and keywords.most is None:
        return held
    # Shorter texts than allowed are allowed too: the longer ones are left out where counting takes too much.
    limits = [
        keywords.most,
        *(most for most in (1000, 300, 100) if keywords.most is None or most < keywords.most),
    ]
    for most in limits:
        if most is not None and most < keywords.least:
            break
        try:
            found = intersection(held, of_lengths(keywords.least, most), budget)
        except ValueError:
            continue
        if not found.is_empty:
            return found
        if most == keywords.most:
            raise ValueError("no text of the length that is asked for matches")
    note(
        "maxLength" if keywords.most is not None else "minLength", "cannot be held together with the pattern"
    )
    return held


def fits(keywords: StringKeywords, text: Any, budget: Budget) -> bool:
    """Whether a text fits, as far as that can be decided."""
    if len(text) < keywords.least or (keywords.most is not None and len(text) > keywords.most):
        return False
    if text in keywords.excluded:
        return False
    for patterns, is_wanted in ((keywords.patterns, True), (keywords.mismatches, False)):
        for pattern in patterns:
            try:
                if matches(pattern_automaton(pattern, budget), text) != is_wanted:
                    return False
            except ValueError:
                continue
    return True
