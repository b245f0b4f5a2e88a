"""printf and numbers: cases of Go's fmt documentation and of text/template."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.gotemplate.format import format_value, sprintf

CASES: list[tuple[str, tuple[object, ...], str]] = [
    (
        "%s|%d|%q|%v|%5d|%-5s|%05.2f|%x|%t|%%",
        ("s", 3, "q", 1.5, 42, "ab", 3.14159, 255, True),
        's|3|"q"|1.5|   42|ab   |03.14|ff|true|%',
    ),
    ("%d %s %d", ("s", 5), "%!d(string=s) %!s(int=5) %!d(MISSING)"),
    ("x", (1, None, "a"), "x%!(EXTRA int=1, <nil>, string=a)"),
    ("%z %!", (1,), "%!z(int=1) %!!(MISSING)"),
    ("%", (), "%!(NOVERB)"),
    ("%s %v %d", (None, None, None), "%!s(<nil>) <nil> %!d(<nil>)"),
    ("%08b|%o|%#o|%O|%#x|%X|%#X", (5, 8, 8, 8, 255, 255, 255), "00000101|10|010|0o10|0xff|FF|0XFF"),
    ("%+d|% d|%05d|%-5d|%+.3d|%.0d", (7, 7, -42, 42, 7, 0), "+7| 7|-0042|42   |+007|"),
    ("%x|% x|%#x|%X|%.2x", ("hi!", "hi!", "hi!", "hi!", "hi!"), "686921|68 69 21|0x686921|686921|6869"),
    ("%c|%q|%U|%#U", (0x263A, 120, 0x263A, 0x263A), "☺|'x'|U+263A|U+263A '☺'"),
    (
        "%e|%E|%f|%.1f|%g|%G|%8.3f|%+.2e",
        (1.5, 1.5, 1.5, 2.25, 1e21, 1e-7, 3.14159, 12345.678),
        "1.500000e+00|1.500000E+00|1.500000|2.2|1e+21|1E-07|   3.142|+1.23e+04",
    ),
    (
        "%v %v %v %v %v %v %v",
        (1e6, 999999.0, 1e5, 0.0001, 0.00001, 123456789.0, 1.0),
        "1e+06 999999 100000 0.0001 1e-05 1.23456789e+08 1",
    ),
    ("%[2]d %[1]d", (1, 2), "2 1"),
    ("%[3]*.[2]*[1]f", (12.0, 2, 6), " 12.00"),
    ("%*d|%-*d|%.*f", (5, 42, 4, 7, 1, 2.55), "   42|7   |2.5"),
    ("%[5]d %[x]d %d", (1,), "%!d(BADINDEX) %!d(BADINDEX) 1"),
    ("%5t|%-6t|%t", (True, False, 1), " true|false |%!t(int=1)"),
    ("%v|%d|%s|%q", ([1, "a"], [1, "a"], ["x", "y"], ["x", "y"]), '[1 a]|[1 %!d(string=a)]|[x y]|["x" "y"]'),
    (
        "%v|%+v|%d",
        ({"b": 1, "a": [True]},) * 2 + ({"k": 1},),
        "map[a:[true] b:1]|map[a:[true] b:1]|map[%!d(string=k):1]",
    ),
    (
        "%T %T %T %T %T %T",
        ("", 1, 1.0, True, [], {}),
        "string int float64 bool []interface {} map[string]interface {}",
    ),
    ("%v %s %x %d", (b"AB", b"AB", b"AB", b"AB"), "[65 66] AB 4142 [65 66]"),
    (
        "%#v %#v %#v %#v",
        ("a", 1, ["x"], {"k": "v"}),
        '"a" 1 []interface {}{"x"} map[string]interface {}{"k":"v"}',
    ),
    ("%q %+q %#q", ('a"\n\x01é☺', "é☺", "raw"), '"a\\"\\n\\x01é☺" "\\u00e9\\u263a" `raw`'),
    ("%6.2s|%-6.3s|%06s", ("abc", "abcd", "ab"), "    ab|abc   |0000ab"),
    ("%v %.1f", (1 + 2j, 1.25 - 2j), "(1+2i) (1.2-2.0i)"),
    ("%x %x %x", (1.5, 0.0, -3.0), "0x1.8p+00 0x0p+00 -0x1.8p+01"),
    ("%b", (1.0,), "4503599627370496p-52"),
    ("%9999999d|", (1,), "%!(BADWIDTH)1|"),
]


@pytest.mark.parametrize(("form", "args", "expected"), CASES)
def test_printf(form: str, args: tuple[object, ...], expected: str) -> None:
    """Verbs, flags, widths and complaints are those of Go."""
    assert sprintf(form, args) == expected


@given(st.floats(allow_nan=False))
def test_floats_print_exactly(value: float) -> None:
    """The shortest form reads back as the same number."""
    text = format_value(value)
    assert float(text) == value
    if math.isfinite(value) and value != 0:
        is_small_or_large = not 1e-4 <= abs(value) < 1e6
        rounds_up = text.startswith(("1e+06", "-1e+06"))
        assert ("e" in text) == is_small_or_large or rounds_up


@given(
    st.text(max_size=20),
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(), st.text(max_size=5)),
        max_size=4,
    ),
)
def test_any_format_gives_text(form: str, args: list[object]) -> None:
    """No format string makes printf fail."""
    assert isinstance(sprintf("%" + form, args), str)
