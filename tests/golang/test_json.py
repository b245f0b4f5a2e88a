"""JSON and durations in Go's forms."""

from __future__ import annotations

import json
import re
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidRequestError
from corral.golang.json import (
    Float32,
    encode,
    encode_float32_list,
    encode_float64_list,
    encode_sorted,
    escape_string,
)
from corral.golang.time import (
    FOREVER_NS,
    format_duration,
    format_local_time,
    format_utc_now,
    parse_duration_ns,
    parse_keep_alive,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (4096.0, "4096"),
        (0.7, "0.7"),
        (1.5e-5, "0.000015"),
        (1e20, "100000000000000000000"),
        (-2.5e-8, "-2.5e-8"),
        (Float32(0.1), "0.1"),
        (Float32(1e-5), "0.00001"),
        (0.0, "0"),
        (1.048576e6, "1048576"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    """Exponents only for the very small and large, whole numbers without a point."""
    assert encode(number) == text.encode()


def test_escapes() -> None:
    """What HTML gives a meaning, and the two line separators, are escaped; other letters are not."""
    assert (
        escape_string("<b>&é\u2028\u2029\n\x01")
        == b'"\\u003cb\\u003e\\u0026\xc3\xa9\\u2028\\u2029\\n\\u0001"'
    )
    assert escape_string("a\ud800b") == '"a\ufffdb"'.encode()


@given(json_values)
def test_encode_reads_back(value: object) -> None:
    """What we write is JSON for the same value."""
    back = json.loads(encode(value), parse_int=float)
    assert back == json.loads(json.dumps(value), parse_int=float)


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_sorted_members(value: dict[str, int]) -> None:
    """Maps are written in the order of their UTF-8 names."""
    names = list(json.loads(encode_sorted(value)))
    assert names == sorted(value, key=lambda name: name.encode("utf-8", "surrogatepass"))


@given(st.lists(st.floats(-1, 1, width=32), max_size=8))
def test_float32_lists_keep_the_number(values: list[float]) -> None:
    """Every printed number gives the same 32 bits back."""
    data = encode_float32_list(array("f", values))
    assert array("f", json.loads(data)) == array("f", values)
    assert data == encode([Float32(value) for value in values])


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("5m", 300 * 10**9), ("1h30m", 5400 * 10**9), ("-1.5s", -15 * 10**8), ("0", 0), (".5ms", 500_000)],
)
def test_durations(text: str, nanoseconds: int) -> None:
    """Go's duration texts."""
    assert parse_duration_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
    ],
)
def test_bad_durations(text: str, error: str) -> None:
    """Go's words for what is no duration."""
    with pytest.raises(InvalidRequestError, match=re.escape(error)):
        parse_duration_ns(text)


@given(st.integers(0, 10**18))
def test_durations_print_and_read_back(nanoseconds: int) -> None:
    """A printed duration is the same duration."""
    assert parse_duration_ns(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [
        (None, None),
        (0, 0),
        (1.5, 1_500_000_000),
        (-1, FOREVER_NS),
        ("-1s", FOREVER_NS),
        ("0", 0),
        ("20s", 20 * 10**9),
    ],
)
def test_keep_alive(value: object, nanoseconds: int | None) -> None:
    """Seconds or a duration; anything negative is for ever."""
    assert parse_keep_alive(value) == nanoseconds


@pytest.mark.parametrize("seconds", [1e30, 1e300, 1.7976931348623157e308, 10**400])
def test_keep_alive_beyond_all_durations(seconds: float) -> None:
    """Numbers whose nanoseconds no machine number holds count as too large, like those just above the bound."""
    assert parse_keep_alive(seconds) == 1


def test_keep_alive_that_overflows_ends_at_once() -> None:
    """A number beyond Go's durations is over before anybody can ask."""
    value = parse_keep_alive(10_000_000_000)
    assert value is not None
    assert 0 < value < 1_000_000


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "bool"), ({}, "map[string]interface {}"), ([], "[]interface {}")]
)
def test_keep_alive_of_another_type(value: object, kind: str) -> None:
    """The type is named as Go names it."""
    with pytest.raises(InvalidRequestError, match=re.escape(f"Unsupported type: '{kind}'")):
        parse_keep_alive(value)


def test_times() -> None:
    """RFC 3339, nanoseconds without trailing zeros."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", format_utc_now())
    assert re.fullmatch(r"\S+:00\.5(Z|[+-]\d\d:\d\d)", format_local_time(500_000_000))
    assert format_local_time(FOREVER_NS).startswith("2262-")


def test_durations_of_thousands_of_digits() -> None:
    """They are refused, whatever Python thinks of reading them."""
    for text in ("9" * 5000 + "h", "1." + "9" * 5000 + "h", "9" * 5000):
        with pytest.raises(InvalidRequestError, match="invalid duration"):
            parse_keep_alive(text)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_lists_of_64_bit_numbers(values: list[float]) -> None:
    """As one by one, whatever their size."""
    assert encode_float64_list(array("d", values)) == encode(values)


def test_64_bit_forms_of_32_bit_numbers() -> None:
    """All digits that the number has in 64 bits."""
    values = array("f", [0.1, 1.0, -2.0, 1e-7, 3e22, 0.0])
    assert encode_float64_list(values) == encode(list(values))
    assert encode_float64_list(array("f", [0.1])) == b"[0.10000000149011612]"
