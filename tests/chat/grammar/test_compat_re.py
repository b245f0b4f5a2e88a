"""The trees of `re`'s parser, which Python does not promise: a version that changes them fails here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from corral.chat.grammar.compat_re import parse, sre

A, B, C = (sre.LITERAL, 97), (sre.LITERAL, 98), (sre.LITERAL, 99)


def plain(value: Any) -> Any:
    """The parser's own sequences as lists."""
    if isinstance(value, tuple):
        return tuple(plain(part) for part in value)
    return [plain(part) for part in value] if hasattr(value, "__getitem__") else value


@pytest.mark.parametrize(
    ("pattern", "tree"),
    [
        ("a", [A]),
        ("[^a]", [(sre.NOT_LITERAL, 97)]),
        (".", [(sre.ANY, None)]),
        ("[a-zb]", [(sre.IN, [(sre.RANGE, (97, 122)), B])]),
        (r"[^\da]", [(sre.IN, [(sre.NEGATE, None), (sre.CATEGORY, sre.CATEGORY_DIGIT), A])]),
        (r"\D", [(sre.IN, [(sre.CATEGORY, sre.CATEGORY_NOT_DIGIT)])]),
        (r"\w", [(sre.IN, [(sre.CATEGORY, sre.CATEGORY_WORD)])]),
        (r"\W", [(sre.IN, [(sre.CATEGORY, sre.CATEGORY_NOT_WORD)])]),
        (r"\s", [(sre.IN, [(sre.CATEGORY, sre.CATEGORY_SPACE)])]),
        (r"\S", [(sre.IN, [(sre.CATEGORY, sre.CATEGORY_NOT_SPACE)])]),
        ("^$", [(sre.AT, sre.AT_BEGINNING), (sre.AT, sre.AT_END)]),
        (r"\A\Z", [(sre.AT, sre.AT_BEGINNING_STRING), (sre.AT, sre.AT_END_STRING)]),
        ("a{2,5}", [(sre.MAX_REPEAT, (2, 5, [A]))]),
        ("a*?", [(sre.MIN_REPEAT, (0, sre.MAXREPEAT, [A]))]),
        ("(a)", [(sre.SUBPATTERN, (1, 0, 0, [A]))]),
        ("(?i:a)", [(sre.SUBPATTERN, (None, 2, 0, [A]))]),
        ("(?-i:a)", [(sre.SUBPATTERN, (None, 0, 2, [A]))]),
        ("a|bc", [(sre.BRANCH, (None, [[A], [B, C]]))]),
        ("^ab|^cb", [(sre.AT, sre.AT_BEGINNING), (sre.BRANCH, (None, [[A, B], [C, B]]))]),
        ("(?=a)", [(sre.ASSERT, (1, [A]))]),
        ("(?!a)", [(sre.ASSERT_NOT, (1, [A]))]),
        ("(?<!a)", [(sre.ASSERT_NOT, (-1, [A]))]),
    ],
)
def test_trees(pattern: str, tree: list[tuple[Any, Any]]) -> None:
    assert plain(parse(pattern)[0]) == tree


def test_constants_are_single_objects() -> None:
    """`patterns.py` compares them with `is`."""
    (kind, _), (at, where) = parse("a$")[0]
    assert kind is sre.LITERAL
    assert at is sre.AT
    assert where is sre.AT_END


@pytest.mark.parametrize(("pattern", "ignores_case"), [("a", False), ("(?i)a", True), ("(?i:a)", False)])
def test_flags(pattern: str, ignores_case: bool) -> None:
    assert parse(pattern)[1] is ignores_case


@pytest.mark.parametrize("pattern", ["(", "[", "a**", r"\2"])
def test_errors(pattern: str) -> None:
    with pytest.raises(re.error):
        parse(pattern)


def test_warnings_are_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    parse("[[a]")
    assert not recwarn.list
