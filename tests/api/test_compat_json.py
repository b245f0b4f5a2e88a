"""What Corral relies on in the scanner of `json` without Python's promise: a version that changes it fails here."""

from __future__ import annotations

import json

import pytest

from corral.api.reading.compat_json import scan_string, scanner

SCAN = scanner(json.JSONDecoder(object_pairs_hook=list))


@pytest.mark.parametrize(
    ("text", "start", "value", "end"),
    [
        ('{"a": 1, "a": 2} rest', 0, [("a", 1), ("a", 2)], 16),
        ("[1, -2.5e3]]", 0, [1, -2500.0], 11),
        (' "\\u00e9"x', 1, "é", 9),
        ("null,", 0, None, 4),
        ("x true", 2, True, 6),
    ],
)
def test_a_value_and_its_end(text: str, start: int, value: object, end: int) -> None:
    assert SCAN(text, start) == (value, end)


@pytest.mark.parametrize(
    ("text", "start", "index"), [("", 0, 0), ("  ", 1, 1), ("[1]x", 3, 3), ("[1, x]", 0, 4)]
)
def test_no_value(text: str, start: int, index: int) -> None:
    """StopIteration carries the index; blanks are not passed over."""
    with pytest.raises(StopIteration) as caught:
        SCAN(text, start)
    assert caught.value.value == index


@pytest.mark.parametrize(("text", "index"), [('{"a" 1}', 5), ('"abc', 0), ('{"a": 1,}', 8), ('"\n"', 1)])
def test_broken_values(text: str, index: int) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        SCAN(text, 0)
    assert abs(caught.value.pos - index) <= 1  # which of two neighbours differs between versions


def test_deep_values() -> None:
    with pytest.raises(RecursionError):
        SCAN("[" * 200_000, 0)


def test_the_text_of_a_string() -> None:
    """The index is that after the quote; True refuses control characters."""
    assert scan_string('"a\\n\\ud83d\\ude00" ', 1, True) == ("a\n😀", 17)
    assert scan_string('"a\tb"', 1, False) == ("a\tb", 5)
    with pytest.raises(json.JSONDecodeError):
        scan_string('"a\tb"', 1, True)
    with pytest.raises(json.JSONDecodeError):
        scan_string('"a', 1, True)


def test_hooks_are_called_and_their_errors_pass() -> None:
    def refuse(text: str) -> float:
        raise ValueError(f"refused {text}")

    scan = scanner(json.JSONDecoder(parse_constant=refuse, parse_float=refuse))
    for text in ("NaN", "[Infinity]", "1.5"):
        with pytest.raises(ValueError, match="refused"):
            scan(text, 0)
