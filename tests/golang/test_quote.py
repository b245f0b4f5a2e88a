"""Quotes as Go writes them into errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidRequestError
from corral.golang.quote import quoted
from corral.golang.time import parse_keep_alive


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("llama3:8b", '"llama3:8b"'),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("a\nb\r\t\a\b\f\v", '"a\\nb\\r\\t\\a\\b\\f\\v"'),
        ("\x00\x1b\x7f", '"\\x00\\x1b\\x7f"'),
        ("Ärger 世界 😀", '"Ärger 世界 😀"'),
        ("\u00a0\u200b\u2028", '"\\u00a0\\u200b\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_quoted(text: str, wanted: str) -> None:
    """The values are those of Go's strconv.Quote."""
    assert quoted(text) == wanted


@given(st.text())
def test_a_quoted_text_stays_on_its_line(text: str) -> None:
    """Nothing in it ends the quotes or the line, or is a control character."""
    shown = quoted(text)
    assert shown.isprintable()
    assert '"' not in shown[1:-1].replace("\\\\", "").replace('\\"', "")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\u0966s", 'time: invalid duration "\\xe0\\xa5\\xa6s"'),
        ('a"', 'time: invalid duration "a\\""'),
        ("1\n", 'time: unknown unit "\\x0a" in duration "1\\x0a"'),
    ],
)
def test_durations_in_errors(text: str, wanted: str) -> None:
    """Go's package of times shows bytes."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_keep_alive(text)
    assert str(caught.value) == wanted
