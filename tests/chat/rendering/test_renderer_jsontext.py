"""JSON and printed values inside prompts. The tables are what Go's `encoding/json` and `fmt` write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.rendering import jsontext
from corral.errors import TemplateError
from corral.golang import quote as goquote
from corral.types import ToolFunction, ToolParameters, ToolProperty

_json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        (100000, "100000"),
        (999999.0, "999999"),
        (1000000, "1e+06"),
        (123456789, "1.23456789e+08"),
        (1234567.5, "1.2345675e+06"),
        (0.0001, "0.0001"),
        (0.00012, "0.00012"),
        (0.00001, "1e-05"),
        (-0.5, "-0.5"),
        (0.0, "0"),
        (-20.0, "-20"),
        (12345678901234567890, "1.2345678901234567e+19"),
        (1e100, "1e+100"),
    ],
)
def test_format_float(value: float, text: str) -> None:
    """Numbers print with the fewest digits, and with an exponent from a million on."""
    assert jsontext.format_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_format_float_loses_nothing(value: float) -> None:
    """The printed number is the number."""
    assert float(jsontext.format_float(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1000000, "1000000"),
        (1.0, "1"),
        (1e21, "1e+21"),
        (1e-9, "1e-9"),
        (12345678901234567890, "12345678901234567000"),
        (True, "true"),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
        ({"b": [1, "x:,y"], "a": None}, '{"b":[1,"x:,y"],"a":null}'),
        ('<b> & "q" \\ \u2028\n', '"\\u003cb\\u003e \\u0026 \\"q\\" \\\\ \\u2028\\n"'),
    ],
)
def test_format_json(value: Any, text: str) -> None:
    """Compact JSON keeps the order given and escapes what HTML would read."""
    assert jsontext.format_json(value) == text


def test_format_spaced() -> None:
    """The spaced form has its spaces outside strings alone."""
    assert jsontext.format_spaced({"a": [1, "x:,y"], "b": {}}) == '{"a": [1, "x:,y"], "b": {}}'


@pytest.mark.parametrize("text", ["<b> & c", "\\u003c", "\\\\u003e\\", "a\\u0026<", "\x00\x01"])
def test_unescaped_string(text: str) -> None:
    """Without escapes the three characters stand bare, and text that looks like an escape stays text."""
    written = jsontext.string_text(text, is_escaped=False)
    assert json.loads(written) == text
    assert written.count("<") == text.count("<")


@given(_json_values, st.booleans(), st.booleans())
def test_json_reads_back(value: Any, is_spaced: bool, is_escaped: bool) -> None:
    """Whatever the form, a JSON reader finds the value again."""
    assert (
        json.loads(jsontext.format_json(value, is_spaced=is_spaced, is_escaped=is_escaped), parse_int=float)
        == value
    )


@given(_json_values)
def test_indented_reads_back(value: Any) -> None:
    """The indented form is JSON too."""
    assert json.loads(jsontext.format_indented(value), parse_int=float) == value


@given(_json_values)
def test_sorted_value(value: Any) -> None:
    """Sorting changes the order of members and nothing else."""
    ordered = jsontext.sorted_value(value)
    assert ordered == value
    assert json.dumps(ordered) == json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain <é> 你", '"plain <é> 你"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x1f\x7f", '"\\x00\\x1f\\x7f"'),
        ("\u200b\u2028\xa0", '"\\u200b\\u2028\\u00a0"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    """A quoted string escapes what cannot be printed: the renderers use the one home of Go's quotes."""
    assert goquote.quoted(text) == quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        ("a b", "a b"),
        ([1, "x", None], "[1 x <nil>]"),
        ({"b": 2, "a": {"c": [1.5]}}, "map[a:map[c:[1.5]] b:2]"),
    ],
)
def test_format_value(value: Any, text: str) -> None:
    """Values print in the form of Go's `%v`."""
    assert jsontext.format_value(value) == text


def _function(prop: ToolProperty, **fields: Any) -> ToolFunction:
    return ToolFunction("f", "", ToolParameters("object", properties={"p": prop}, **fields))


def test_function_order() -> None:
    """Fields stand in declaration order, properties as sent, everything below `items` and `$defs` sorted."""
    prop = ToolProperty(
        types=("array", "null"),
        items={"type": "string", "enum": ["x"]},
        description="d<",
        enum=(2, 1),
        properties={"z": ToolProperty(), "a": ToolProperty(types=("string",))},
        required=("z",),
        any_of=(ToolProperty(types=("number",)),),
    )
    function = _function(prop, required=("p",), defs={"b": 1, "a": 2}, items={"y": 1, "x": 2})
    assert jsontext.format_json(jsontext.function_object(function)) == (
        '{"name":"f","parameters":{"type":"object","$defs":{"a":2,"b":1},"items":{"x":2,"y":1},"required":["p"],'
        '"properties":{"p":{"anyOf":[{"type":"number"}],"type":["array","null"],"items":{"enum":["x"],'
        '"type":"string"},"description":"d\\u003c","enum":[2,1],"properties":{"z":{},"a":{"type":"string"}},'
        '"required":["z"]}}}}'
    )


def test_properties_are_always_escaped() -> None:
    """Without escapes the description of a function stands bare, that of a property does not."""
    function = ToolFunction(
        "f", "<", ToolParameters("object", properties={"p": ToolProperty(description="<")})
    )
    written = jsontext.format_json(jsontext.function_object(function), is_escaped=False)
    assert '"description":"<"' in written
    assert '"description":"\\u003c"' in written


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), float("nan")])
def test_number_out_of_range(number: float) -> None:
    """A number that no 64-bit float holds is refused, not printed wrongly."""
    with pytest.raises(TemplateError, match="64-bit"):
        jsontext.format_json(number)
    with pytest.raises(TemplateError, match="64-bit"):
        jsontext.format_float(number)
