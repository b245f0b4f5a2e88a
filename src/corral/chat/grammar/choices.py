"""One of many texts as a tree of what they begin with, so that a long list costs no more than a short one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from corral.chat.grammar.budget import Budget
from corral.chat.grammar.rules import json_text, literal

_MAX_FLAT = 8
_MAX_NESTED = 60


def literal_choice(texts: Iterable[str], budget: Budget) -> str:
    """An expression for exactly these texts."""
    known = list(dict.fromkeys(texts))
    budget.spend(sum(map(len, known)) // 4 + 2 * len(known))
    if len(known) <= _MAX_FLAT:
        return " | ".join(map(literal, known))
    return _branches(sorted(known), 0, 0)


def _branches(texts: list[str], start: int, depth: int) -> str:
    """Sorted texts from a place on, those with the same next character together."""
    options = []
    at = 0
    while at < len(texts):
        text = texts[at]
        if len(text) == start:
            options.append('""')
            at += 1
            continue
        end = at + 1
        while end < len(texts) and texts[end][start] == text[start]:
            end += 1
        if end == at + 1 or depth > _MAX_NESTED:
            options += [literal(other[start:]) for other in texts[at:end]]
        else:
            common = _common_end(text, texts[end - 1], start)
            options.append(f"{literal(text[start:common])} ({_branches(texts[at:end], common, depth + 1)})")
        at = end
    return " | ".join(options)


def _common_end(first: str, last: str, start: int) -> int:
    """Where the first and the last of sorted texts part."""
    limit = min(len(first), len(last))
    while start < limit and first[start] == last[start]:
        start += 1
    return start


def json_texts(values: Iterable[Any]) -> list[str]:
    """The compact JSON of values."""
    return [json_text(value) for value in values]


def identity(value: Any, budget: Budget) -> Any:
    """A key that two values share when they are equal in JSON: true is not 1, but 1.0 is."""
    budget.spend(1)
    if isinstance(value, bool) or value is None:
        return ("constant", value)
    if isinstance(value, list):
        return ("list", *(identity(item, budget) for item in value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, identity(item, budget)) for key, item in value.items()))
    return value
