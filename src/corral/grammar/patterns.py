"""Regular expressions as grammars of the text between the quotes of a JSON string."""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Iterable
from typing import Any

from corral.grammar.rules import class_char, literal, repeat

__all__ = ["pattern_rule"]

MAX_REPEAT = 1000
_MAX_EXPANSION = 2000
_LAST_CODE = 0x10FFFF
_Ranges = list[tuple[int, int]]

# What stands for itself between the quotes; the others need an escape.
_SPECIAL = (*range(0x20), 0x22, 0x5C, 0x7F)
_SHORT_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_DIGITS: _Ranges = [(0x30, 0x39)]
_WORDS: _Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACES: _Ranges = [(9, 13), (0x20, 0x20)]
_CATEGORIES: dict[Any, tuple[_Ranges, bool]] = {
    sre.CATEGORY_DIGIT: (_DIGITS, False),
    sre.CATEGORY_NOT_DIGIT: (_DIGITS, True),
    sre.CATEGORY_WORD: (_WORDS, False),
    sre.CATEGORY_NOT_WORD: (_WORDS, True),
    sre.CATEGORY_SPACE: (_SPACES, False),
    sre.CATEGORY_NOT_SPACE: (_SPACES, True),
}
_START = (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
_END = (sre.AT_END, sre.AT_END_STRING)
_Tree = list[tuple[Any, Any]]

# Patterns with look-ahead that widespread packages put into every schema of these types, as grammars of texts that
# match them: zod's email, pydantic's Decimal.
_KNOWN = {
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$": (
        """("'"? [A-Za-z0-9_+\\x2D] (['.]? [A-Za-z0-9_+\\x2D]){0,63} "@" """
        """([A-Za-z0-9] [A-Za-z0-9\\x2D]{0,62} "."){1,4} [A-Za-z]{2,24})"""
    ),
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$": '([+\\x2D]? ([0-9]{1,40} ("." [0-9]{0,40})? | "." [0-9]{1,40}))',
}


def pattern_rule(pattern: Any, char: str, *, least: int = 0, most: int | None = None) -> str:
    """GBNF for texts of `least` to `most` characters that match; `char` is the rule of any character in a string.

    Raises:
        ValueError: what of the pattern cannot be a grammar.
    """
    if not isinstance(pattern, str):
        raise ValueError("must be a text")
    if pattern in _KNOWN and not least and most is None:
        return _KNOWN[pattern]
    try:
        parsed = sre_parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as exc:
        raise ValueError(f"is no regular expression: {exc}") from None
    if parsed.state.flags & re.IGNORECASE:
        raise ValueError("flags are not supported")
    tree = _plain_list(parsed)
    if len(tree) == 1 and tree[0][0] is sre.SUBPATTERN and not (tree[0][1][1] or tree[0][1][2]):
        tree = _plain_list(tree[0][1][3])
    if len(tree) == 1 and tree[0][0] is sre.BRANCH:
        options = [_plain_list(option) for option in tree[0][1][1]]
    elif len(tree) == 2 and tree[0][0] is sre.AT and tree[1][0] is sre.BRANCH:
        # The parser moves a start that all options share to the front.
        options = [[tree[0], *_plain_list(option)] for option in tree[1][1][1]]
    else:
        options = [tree]
    try:
        if _expansion(tree) > _MAX_EXPANSION:
            raise ValueError("repeats too much")
        return "(" + " | ".join(_anchored(option, char, least, most) for option in options) + ")"
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _plain_list(tree: Any) -> _Tree:
    return list(tree)


def _anchored(tree: _Tree, char: str, least: int, most: int | None) -> str:
    has_start = bool(tree) and tree[0][0] is sre.AT and tree[0][1] in _START
    has_end = bool(tree) and tree[-1][0] is sre.AT and tree[-1][1] in _END
    body = tree[has_start : len(tree) - has_end]
    before = after = ""
    if least or most is not None:
        body, before, after = _with_length(body, char, least, most, has_start=has_start, has_end=has_end)
    else:
        before, after = "" if has_start else f"{char}*", "" if has_end else f"{char}*"
    return " ".join(part for part in (before, _sequence(body), after) if part)


def _with_length(
    tree: _Tree, char: str, least: int, most: int | None, *, has_start: bool, has_end: bool
) -> tuple[_Tree, str, str]:
    """The pattern with the bounds of length put into the one part of it that can be of any length.

    Raises:
        ValueError: there is more than one such part.
    """
    widths = [_width([node]) for node in tree]
    low, high = sum(width[0] for width in widths), _total(width[1] for width in widths)
    if not (has_start and has_end):
        if low != high or (not has_start and not has_end and not (least <= low and most is None)):
            raise ValueError("without ^ and $ cannot be combined with a length")
        if most is not None and most < low:
            raise ValueError("matches no text of the length that is asked for")
        rest = repeat(char, max(least - low, 0), None if most is None else most - low)
        return (
            (tree, rest, "")
            if has_end
            else (tree, f"{char}*" if not has_start and most is None else "", rest)
        )
    if low >= least and (most is None or (high is not None and high <= most)):
        return tree, "", ""
    loose = [i for i, width in enumerate(widths) if width[0] != width[1]]
    if len(loose) != 1 or tree[loose[0]][0] not in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        raise ValueError("with more than one part of variable length cannot be combined with a length")
    kind, (item_least, item_most, item) = tree[loose[0]]
    if _width(_plain_list(item)) != (1, 1):
        raise ValueError("with a repeated group cannot be combined with a length")
    others = low - item_least
    new_least = max(item_least, least - others)
    limit = item_most if item_most != sre.MAXREPEAT else None
    new_most = limit if most is None else most - others if limit is None else min(limit, most - others)
    if new_most is not None and new_most < new_least:
        raise ValueError("matches no text of the length that is asked for")
    bounded = (kind, (new_least, sre.MAXREPEAT if new_most is None else new_most, item))
    return [*tree[: loose[0]], bounded, *tree[loose[0] + 1 :]], "", ""


def _width(tree: _Tree) -> tuple[int, int | None]:
    """How many characters a pattern takes, at least and at most."""
    least, most = 0, 0
    is_bounded = True
    for kind, argument in tree:
        low: int
        high: int | None
        if kind is sre.SUBPATTERN:
            low, high = _width(_plain_list(argument[3]))
        elif kind is sre.BRANCH:
            options = [_width(_plain_list(option)) for option in argument[1]]
            low, high = min(option[0] for option in options), _largest(option[1] for option in options)
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high = _width(_plain_list(argument[2]))
            low *= argument[0]
            high = None if argument[1] == sre.MAXREPEAT or high is None else high * argument[1]
        else:
            low = high = 0 if kind is sre.AT else 1
        least += low
        is_bounded = is_bounded and high is not None
        most += high or 0
    return least, most if is_bounded else None


def _total(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _largest(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else max(value or 0 for value in known)


def _expansion(tree: _Tree) -> int:
    """How many terminals the engine makes of a pattern, since it writes bounded repeats out."""
    size = 0
    for kind, argument in tree:
        if kind is sre.SUBPATTERN:
            size += _expansion(_plain_list(argument[3]))
        elif kind is sre.BRANCH:
            size += sum(_expansion(_plain_list(option)) for option in argument[1])
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            bound = argument[0] if argument[1] == sre.MAXREPEAT else argument[1]
            size += max(bound, 1) * _expansion(_plain_list(argument[2]))
        else:
            size += 1
    return size


def _sequence(tree: Any) -> str:
    return " ".join(_node(kind, argument) for kind, argument in tree) or '""'


def _node(kind: Any, argument: Any) -> str:
    if kind is sre.LITERAL:
        return literal(_in_string(argument))
    if kind is sre.NOT_LITERAL:
        return _set(_inverted([(argument, argument)]), is_negated=True)
    if kind is sre.ANY:
        return _set(_inverted([(10, 10)]), is_negated=True)
    if kind is sre.IN:
        return _set(*_ranges(argument))
    if kind is sre.BRANCH:
        return "(" + " | ".join(_sequence(option) for option in argument[1]) + ")"
    if kind is sre.SUBPATTERN:
        if argument[1] or argument[2]:
            raise ValueError("flags inside a group are not supported")
        return f"({_sequence(argument[3])})"
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, tree = argument
        bound = None if most == sre.MAXREPEAT else most
        if least > MAX_REPEAT or (bound or 0) > MAX_REPEAT:
            raise ValueError(f"repeats more than {MAX_REPEAT} times")
        return repeat(f"({_sequence(tree)})", least, bound)
    raise ValueError(f"{str(kind).lower()} is not supported here")


def _in_string(code: int) -> str:
    """A character as it stands inside a JSON string."""
    if code in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[code]
    return f"\\u{code:04x}" if code < 0x20 else chr(code)


def _ranges(items: Any) -> tuple[_Ranges, bool]:
    """The characters of a set, and whether it names those it excludes."""
    found: _Ranges = []
    is_negated = is_wide = False
    for kind, argument in items:
        if kind is sre.NEGATE:
            is_negated = True
        elif kind is sre.LITERAL:
            found.append((argument, argument))
        elif kind is sre.RANGE:
            found.append(argument)
        elif kind is sre.CATEGORY and argument in _CATEGORIES:
            ranges, is_inverse = _CATEGORIES[argument]
            is_wide = is_wide or is_inverse
            found += _inverted(ranges) if is_inverse else ranges
        else:
            raise ValueError(f"{str(argument).lower()} in a set is not supported")
    return (_inverted(found), True) if is_negated else (_merged(found), is_wide)


def _merged(ranges: _Ranges) -> _Ranges:
    merged: _Ranges = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _inverted(ranges: _Ranges) -> _Ranges:
    inverted: _Ranges = []
    start = 0
    for low, high in _merged(ranges):
        if start < low:
            inverted.append((start, low - 1))
        start = high + 1
    if start <= _LAST_CODE:
        inverted.append((start, _LAST_CODE))
    return inverted


def _set(ranges: _Ranges, is_negated: bool = False) -> str:
    """A choice of characters: those that stand for themselves as a class, the others as escapes.

    Control characters come up only in sets that name them: nobody means them by "anything but a comma".
    """
    codes = [code for code in _SPECIAL if any(low <= code <= high for low, high in ranges)]
    escaped = [code for code in codes if code != 0x7F and not (is_negated and code < 0x20)]
    plain: _Ranges = []
    for low, high in ranges:
        for code in codes:
            if low <= code <= high:
                if low < code:
                    plain.append((low, code - 1))
                low = code + 1
        if low <= high:
            plain.append((low, high))
    body = "".join(
        class_char(chr(low)) if low == high else f"{class_char(chr(low))}-{class_char(chr(high))}"
        for low, high in plain
    )
    options = ([f"[{body}]"] if body else []) + [literal(_in_string(code)) for code in escaped]
    if not options:
        raise ValueError("has a set that nothing matches")
    return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"
