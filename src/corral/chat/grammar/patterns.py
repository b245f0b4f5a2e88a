"""Regular expressions as automata of the texts that match.

Look-ahead is an intersection with what follows. What an automaton cannot say (back references, word boundaries) is a
ValueError with the reason.
"""

from __future__ import annotations

import re
from typing import Any

from corral.chat.grammar.automata import (
    ALL,
    Alternatives,
    Automaton,
    Chars,
    Node,
    Ranges,
    Repeat,
    Sequence_,
    build,
    complement,
    difference_of_ranges,
    intersection,
    merged_ranges,
)
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.compat_re import Tree, parse, sre

_MAX_PATTERN_CHARS = 20_000
_MAX_REPEAT = 3000
_DIGITS: Ranges = [(0x30, 0x39)]
_WORDS: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACES: Ranges = [(9, 13), (0x20, 0x20)]
_CATEGORIES: dict[Any, tuple[Ranges, bool]] = {
    sre.CATEGORY_DIGIT: (_DIGITS, False),
    sre.CATEGORY_NOT_DIGIT: (_DIGITS, True),
    sre.CATEGORY_WORD: (_WORDS, False),
    sre.CATEGORY_NOT_WORD: (_WORDS, True),
    sre.CATEGORY_SPACE: (_SPACES, False),
    sre.CATEGORY_NOT_SPACE: (_SPACES, True),
}
_START = (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
_END = (sre.AT_END, sre.AT_END_STRING)
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)
_NOTHING = Sequence_(())
_ANYTHING = Repeat(Chars(ALL), 0, None)

# Patterns that widespread packages put into every schema of these types, as grammars of texts of a usual length that
# match them: zod's email, pydantic's Decimal.
KNOWN = {
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$": (
        """("'"? [A-Za-z0-9_+\\x2D] (['.]? [A-Za-z0-9_+\\x2D]){0,63} "@" """
        """([A-Za-z0-9] [A-Za-z0-9\\x2D]{0,62} "."){1,4} [A-Za-z]{2,24})"""
    ),
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$": '([+\\x2D]? ([0-9]{1,40} ("." [0-9]{0,40})? | "." [0-9]{1,40}))',
}

# Spellings of other languages in that of Python, and Unicode's properties by their usual characters.
_PROPERTIES = {
    "L": "a-zA-Zª-ˁͰ-Ͽ-ԯא-ת؀-ۿऀ-ॿ぀-ヿ㐀-䶿一-鿿가-힣",
    "Lu": "A-ZÀ-ÖØ-ÞΑ-ΩА-Я",
    "Ll": "a-zß-öø-ÿα-ωа-я",
    "N": "0-9",
    "Nd": "0-9",
    "P": "!-#%-*,-/:;?@\\[-\\]_{}",
    "S": "$+<=>\\^`|~",
    "Z": " ",
    "Zs": " ",
}
_PROPERTIES |= {"Letter": _PROPERTIES["L"], "Alphabetic": _PROPERTIES["L"], "Number": "0-9"}
_FOREIGN = re.compile(
    r"\\(?:p\{(\^?\w{1,24})\}|P\{(\w{1,24})\}|u\{([0-9A-Fa-f]{1,6})\}|(.))|\(\?<(?=[A-Za-z_])|(\[)|(\])", re.S
)


def pattern_automaton(pattern: str, budget: Budget) -> Automaton:
    """The texts in which a pattern is found.

    Raises:
        ValueError: what of the pattern an automaton cannot say, or that it would be too large.
        WorkLimitError
    """
    budget.spend(40 + 4 * len(pattern))
    if len(pattern) > _MAX_PATTERN_CHARS:
        raise ValueError(f"is longer than {_MAX_PATTERN_CHARS} characters")
    try:
        tree, ignores_case = parse(_translated(pattern))
        return _Reader(budget, ignores_case).whole(tree)
    except (re.error, OverflowError) as exc:
        raise ValueError(f"is not a regular expression: {exc}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _translated(pattern: str) -> str:
    """A pattern of JavaScript as Python writes it."""
    if "\\" not in pattern and "(?<" not in pattern:
        return pattern
    is_in_set = False

    def replace(match: re.Match[str]) -> str:
        nonlocal is_in_set
        name, other, code, _, opening, closing = match.groups()
        if opening or closing:
            is_in_set = bool(opening)
            return match[0]
        if name or other:
            letters = _PROPERTIES.get(name or other)
            if letters is None or (other and is_in_set):
                raise ValueError(f"{match[0]} is not supported")
            return letters if is_in_set else f"[{'^' if other else ''}{letters}]"
        if code:
            return f"\\U{int(code, 16):08x}"
        return "(?P<" if match[0] == "(?<" else match[0]

    return _FOREIGN.sub(replace, pattern)


class _Reader:
    """Reads the parser's tree, from its end to its start."""

    def __init__(self, budget: Budget, ignores_case: bool) -> None:
        self._budget = budget
        self._ignores_case = ignores_case

    def whole(self, tree: Tree) -> Automaton:
        """A pattern that may match anywhere: free at an end where it has no anchor."""
        options = _options(tree)
        if all(not _looks_ahead(option) for option in options):
            return build(Alternatives(tuple(self._anchored(option) for option in options)), self._budget)
        found = [complement(self._with_look_ahead(option)) for option in options]
        all_refused = found[0]
        for other in found[1:]:
            all_refused = intersection(all_refused, other, self._budget)
        return complement(all_refused)

    def _anchored(self, tree: Tree) -> Node:
        has_start = bool(tree) and _is_at(tree[0], _START)
        has_end = bool(tree) and _is_at(tree[-1], _END)
        body = tree[has_start : len(tree) - has_end]
        parts = [
            _NOTHING if has_start else _ANYTHING,
            self._sequence(body),
            _NOTHING if has_end else _ANYTHING,
        ]
        return Sequence_(tuple(parts))

    def _with_look_ahead(self, tree: Tree) -> Automaton:
        """The tree cut at its look-aheads; what follows each must also fit it."""
        while len(tree) > 1 and _is_at(tree[0], _START) and _is_at(tree[1], _START):
            tree = tree[1:]
        cuts = [i for i, (kind, _) in enumerate(tree) if kind in (sre.ASSERT, sre.ASSERT_NOT)]
        if not cuts:
            return build(self._anchored(tree), self._budget)
        head, (kind, (direction, inner)) = tree[: cuts[0]], tree[cuts[0]]
        if direction < 0 or any(not _is_at(node, _START) for node in head):
            raise ValueError("looks behind, or ahead from the middle of a text, which is not supported")
        if not head:
            raise ValueError("looks ahead without ^, which is not supported")
        inner = list(inner)
        start = [(sre.AT, sre.AT_BEGINNING)]
        ahead = self.whole([*start, *(inner[1:] if inner and _is_at(inner[0], _START) else inner)])
        rest = self._with_look_ahead([*start, *tree[cuts[0] + 1 :]])
        return intersection(rest, ahead if kind is sre.ASSERT else complement(ahead), self._budget)

    def _sequence(self, tree: Any) -> Node:
        parts = [self._node(kind, argument) for kind, argument in tree]
        return parts[0] if len(parts) == 1 else Sequence_(tuple(parts))

    def _node(self, kind: Any, argument: Any) -> Node:
        self._budget.spend(1)
        if kind is sre.LITERAL:
            return Chars(self._cased([(argument, argument)]))
        if kind is sre.NOT_LITERAL:
            return Chars(difference_of_ranges(ALL, self._cased([(argument, argument)])))
        if kind is sre.ANY:
            return Chars(difference_of_ranges(ALL, [(10, 10)]))
        if kind is sre.IN:
            return Chars(self._set(argument))
        if kind is sre.BRANCH:
            return Alternatives(tuple(self._sequence(option) for option in argument[1]))
        if kind is sre.SUBPATTERN:
            if argument[1] or argument[2]:
                raise ValueError("flags inside a group are not supported")
            return self._sequence(argument[3])
        if kind in _REPEATS:
            least, most, tree = argument
            bound = None if most == sre.MAXREPEAT else most
            if max(least, bound or 0) > _MAX_REPEAT:
                raise ValueError(f"repeats more than {_MAX_REPEAT} times")
            return Repeat(self._sequence(tree), least, bound)
        raise ValueError(f"{str(kind).lower()} is not supported here")

    def _set(self, items: Any) -> Ranges:
        found: list[tuple[int, int]] = []
        is_negated = False
        self._budget.spend(len(items))
        for kind, argument in items:
            if kind is sre.NEGATE:
                is_negated = True
            elif kind is sre.LITERAL:
                found += self._cased([(argument, argument)])
            elif kind is sre.RANGE:
                found += self._cased([argument])
            elif kind is sre.CATEGORY and argument in _CATEGORIES:
                ranges, is_inverse = _CATEGORIES[argument]
                found += difference_of_ranges(ALL, ranges) if is_inverse else ranges
            else:
                raise ValueError(f"{str(argument).lower()} in a set is not supported")
        return difference_of_ranges(ALL, found) if is_negated else merged_ranges(found)

    def _cased(self, ranges: Ranges) -> Ranges:
        """Both cases of ASCII letters, where the pattern asks for it."""
        if not self._ignores_case:
            return ranges
        upper = [
            (max(low, 0x61) - 32, min(high, 0x7A) - 32)
            for low, high in ranges
            if low <= 0x7A and high >= 0x61
        ]
        lower = [
            (max(low, 0x41) + 32, min(high, 0x5A) + 32)
            for low, high in ranges
            if low <= 0x5A and high >= 0x41
        ]
        return merged_ranges([*ranges, *upper, *lower])


def _options(tree: Tree) -> list[Tree]:
    """The alternatives of a whole pattern, since each may have anchors."""
    if len(tree) == 1 and tree[0][0] is sre.SUBPATTERN and not (tree[0][1][1] or tree[0][1][2]):
        return _options(list(tree[0][1][3]))
    if len(tree) == 1 and tree[0][0] is sre.BRANCH:
        return [list(option) for option in tree[0][1][1]]
    if len(tree) == 2 and tree[0][0] is sre.AT and tree[1][0] is sre.BRANCH:
        # The parser moves a start that all options share to the front.
        return [[tree[0], *option] for option in tree[1][1][1]]
    return [tree]


def _is_at(node: tuple[Any, Any], kinds: tuple[Any, ...]) -> bool:
    return node[0] is sre.AT and node[1] in kinds


def _looks_ahead(tree: Tree) -> bool:
    return any(kind in (sre.ASSERT, sre.ASSERT_NOT) for kind, _ in tree)
