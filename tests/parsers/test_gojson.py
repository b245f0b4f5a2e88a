"""JSON of models: what Go's decoder takes, and its texts for what it does not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.parsers.arguments import parse_arguments
from corral.parsers.gojson import parse_json

_END = "unexpected end of JSON input"
_VALUE = "looking for beginning of value"
_NAME = "looking for beginning of object key string"
FAULTS = {
    "": _END,
    "  ": _END,
    "{": _END,
    "[1,": _END,
    '{"a"': _END,
    '"abc': _END,
    "tru": _END,
    "-": _END,
    "{bad": f"invalid character 'b' {_NAME}",
    '{"a":1,}': f"invalid character '}}' {_NAME}",
    "{'a':1}": rf"invalid character '\'' {_NAME}",
    '{"a" 1}': "invalid character '1' after object key",
    '{"a":1 "b":2}': "invalid character '\"' after object key:value pair",
    "[1 2]": "invalid character '2' after array element",
    "[1,]": f"invalid character ']' {_VALUE}",
    "{} x": "invalid character 'x' after top-level value",
    '{"a":1}{"city":"B"}': "invalid character '{' after top-level value",
    "nope": "invalid character 'o' in literal null (expecting 'u')",
    "Null": f"invalid character 'N' {_VALUE}",
    "01": "invalid character '1' after top-level value",
    "-x": "invalid character 'x' in numeric literal",
    "1.x": "invalid character 'x' after decimal point in numeric literal",
    "1ex": "invalid character 'x' in exponent of numeric literal",
    '"a\nb"': r"invalid character '\n' in string literal",
    '"\x01"': r"invalid character '\x01' in string literal",
    r'"\q"': "invalid character 'q' in string escape code",
    r'"\u12g4"': r"invalid character 'g' in \u hexadecimal character escape",
    "é": f"invalid character 'Ã' {_VALUE}",
    "NaN": f"invalid character 'N' {_VALUE}",
    "1e400": "json: cannot unmarshal number 1e400 into Go value of type float64",
    "[" * 2000 + "]" * 2000: "exceeded max depth",
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda text: repr(text[:20]))
def test_fault_has_go_text(text: str) -> None:
    """The text of a fault is that of encoding/json."""
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert str(caught.value) == FAULTS[text]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


@given(_JSON.filter(lambda value: "inf" not in repr(value).lower()))
def test_sound_json_is_read(value: Any) -> None:
    """What Python writes comes back."""
    assert parse_json(json.dumps(value)) == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n', max_size=20))
def test_refusals_agree_with_python(text: str) -> None:
    """Only texts that Python's decoder refuses too are refused, except for numbers without a finite value."""
    try:
        expected: Any = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"invalid character|unexpected end"):
            parse_json(text)
        return
    if isinstance(expected, float) and not math.isfinite(expected):
        with pytest.raises(ValueError, match=r"cannot unmarshal number|invalid character"):
            parse_json(text)
        return
    found = parse_json(text)
    assert found == expected or "\\u" in text or isinstance(expected, list | int)


def test_half_a_surrogate_pair_becomes_a_replacement() -> None:
    """Go puts U+FFFD where a surrogate has no partner."""
    assert parse_json(r'{"a":"x\ud800"}') == {"a": "x\ufffd"}


def test_arguments_are_an_object() -> None:
    """`null` is no arguments; any other kind of value is refused."""
    assert parse_arguments("null") == {}
    assert parse_arguments(' {"b": 1, "a": 2} ') == {"b": 1, "a": 2}
    with pytest.raises(ValueError, match="can't find closing"):
        parse_arguments("[1]")
