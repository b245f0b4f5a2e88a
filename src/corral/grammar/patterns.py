"""Regular expressions and named formats as grammars of the text between the quotes of a JSON string."""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from typing import Any

from corral.grammar.rules import literal, repeat

__all__ = ["FORMATS", "pattern_rule"]

_DATE = '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | "1" [0-9] | "2" [0-8])'
_TIME = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
    '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_HEX = "[0-9a-fA-F]"
_OCTET = '([0-9] | [1-9] [0-9] | "1" [0-9]{2} | "2" [0-4] [0-9] | "25" [0-5])'
_LABEL = "[a-zA-Z0-9] ([a-zA-Z0-9-]{0,20} [a-zA-Z0-9])?"

# Days 29 to 31 are left out of dates, because a grammar cannot know the month's length.
FORMATS: dict[str, str] = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "uuid": f'{_HEX}{{8}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{12}}',
    "email": f'[a-zA-Z0-9] [a-zA-Z0-9_+-]{{0,30}} "@" {_LABEL} "." [a-zA-Z]{{2,10}}',
    "ipv4": f'{_OCTET} "." {_OCTET} "." {_OCTET} "." {_OCTET}',
    "ipv6": f'({_HEX}{{1,4}} ":"){{7}} {_HEX}{{1,4}}',
    "hostname": f'{_LABEL} ("." {_LABEL}){{0,4}}',
    "uri": f'("http" | "https") "://" {_LABEL} ("." {_LABEL}){{0,4}} ("/" [a-zA-Z0-9._~-]{{0,40}}){{0,6}}',
}
_MAX_REPEAT = 4096
# Printable ASCII that needs no escape inside a JSON string: what `.` and negated sets stand for.
_PLAIN = [code for code in range(0x20, 0x7F) if chr(code) not in '"\\']
_CATEGORIES = {
    sre.CATEGORY_DIGIT: "0123456789",
    sre.CATEGORY_WORD: "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
    sre.CATEGORY_SPACE: " ",
}
_NEGATED = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
}


def pattern_rule(pattern: Any) -> str:
    """GBNF for texts that match; an end without an anchor may be followed by up to 40 plain characters.

    Raises:
        ValueError: what of the pattern cannot be a grammar.
    """
    if not isinstance(pattern, str):
        raise ValueError("must be a text")
    try:
        tree = list(sre_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as exc:
        raise ValueError(f"is no regular expression: {exc}") from None
    has_start = bool(tree) and tree[0] in _START
    has_end = bool(tree) and tree[-1] in _END
    tree = tree[has_start : len(tree) - has_end] if tree else tree
    loose = f"{_set(_PLAIN)}{{0,40}}"
    body = _sequence(tree)
    return f"{'' if has_start else loose} ({body}) {'' if has_end else loose}".strip()


_START = ((sre.AT, sre.AT_BEGINNING), (sre.AT, sre.AT_BEGINNING_STRING))
_END = ((sre.AT, sre.AT_END), (sre.AT, sre.AT_END_STRING))


def _sequence(tree: Any) -> str:
    return " ".join(_node(kind, argument) for kind, argument in tree) or '""'


def _node(kind: Any, argument: Any) -> str:
    if kind is sre.LITERAL:
        return literal(_in_string(argument))
    if kind is sre.NOT_LITERAL:
        return _set([code for code in _PLAIN if code != argument])
    if kind is sre.ANY:
        return _set(_PLAIN)
    if kind is sre.IN:
        return _set(_codes(argument))
    if kind is sre.BRANCH:
        return "(" + " | ".join(_sequence(option) for option in argument[1]) + ")"
    if kind is sre.SUBPATTERN:
        if argument[1] or argument[2]:
            raise ValueError("flags inside a group are not supported")
        return f"({_sequence(argument[3])})"
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, tree = argument
        bound = None if most == sre.MAXREPEAT else most
        if least > _MAX_REPEAT or (bound or 0) > _MAX_REPEAT:
            raise ValueError(f"repeats more than {_MAX_REPEAT} times")
        return repeat(f"({_sequence(tree)})", least, bound)
    raise ValueError(f"{str(kind).lower()} is not supported")


def _in_string(code: int) -> str:
    """A character as it stands inside a JSON string."""
    char = chr(code)
    if char in '"\\':
        return "\\" + char
    if code < 0x20:
        return {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}.get(code, f"\\u{code:04x}")
    return char


def _codes(items: Any) -> list[int]:
    found: set[int] = set()
    is_negated = False
    for kind, argument in items:
        if kind is sre.NEGATE:
            is_negated = True
        elif kind is sre.LITERAL:
            found.add(argument)
        elif kind is sre.RANGE:
            low, high = argument
            if high - low > 0x3000:
                raise ValueError("a set with so large a range is not supported")
            found.update(range(low, high + 1))
        elif kind is sre.CATEGORY and argument in _CATEGORIES:
            found.update(map(ord, _CATEGORIES[argument]))
        elif kind is sre.CATEGORY and argument in _NEGATED:
            found.update(set(_PLAIN) - set(map(ord, _CATEGORIES[_NEGATED[argument]])))
        else:
            raise ValueError(f"{str(argument).lower()} in a set is not supported")
    codes = sorted(set(_PLAIN) - found if is_negated else found)
    if not codes:
        raise ValueError("a set that nothing matches")
    return codes


def _set(codes: list[int]) -> str:
    """A choice of characters: those that stand for themselves as a class, the others as texts."""
    plain = [code for code in codes if code >= 0x20 and chr(code) not in '"\\' and code != 0x7F]
    escaped = [literal(_in_string(code)) for code in codes if code not in set(plain)]
    ranges: list[list[int]] = []
    for code in plain:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    body = "".join(
        _class_char(low) if low == high else f"{_class_char(low)}-{_class_char(high)}" for low, high in ranges
    )
    options = ([f"[{body}]"] if body else []) + escaped
    return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"


def _class_char(code: int) -> str:
    char = chr(code)
    if char in "]^[-\\":
        return "\\" + char if char in "]\\[" else f"\\x{code:02X}"
    return char if code < 0x10000 else f"\\U{code:08X}"
