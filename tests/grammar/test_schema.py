"""Schemas that cannot be enforced are refused with the place and the reason; integer ranges are exact."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import SchemaError
from corral.grammar import schema_grammar
from corral.grammar.numbers import integer_range


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nope"}, "unknown type 'nope'"),
        ({"type": "object", "properties": {"a": {"type": "x"}}}, "at #/properties/a"),
        ({"$ref": "#/$defs/none"}, "points to nothing"),
        ({"$ref": "http://example.com/x"}, "does not point into the same schema"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "means only itself"),
        ({"enum": []}, "at least one value"),
        ({"anyOf": []}, "at least one schema"),
        ({"not": {"type": "null"}}, "'not' is not supported"),
        ({"type": "array", "contains": {"type": "null"}}, "'contains' is not supported"),
        ({"type": "array", "contains": {}}, "'contains' is not supported"),
        ({"not": {}}, "nothing is allowed here"),
        ({"if": {"type": "null"}, "then": {"const": 1}}, "'then' is not supported"),
        (
            {"type": "object", "properties": {"a": False}, "required": ["a"]},
            "#/properties/a: nothing is allowed",
        ),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "required property 'a'"),
        (
            {"properties": {"a": True}, "patternProperties": {"^b": True}},
            "'patternProperties' is supported alone",
        ),
        ({"properties": {"a": True}, "propertyNames": {"enum": ["b"]}}, "does not allow the property 'a'"),
        ({"properties": {"a": True}, "propertyNames": {"maxLength": 3}}, "supported as an 'enum' only"),
        (
            {"allOf": [{"additionalProperties": False}, {"patternProperties": {"^b": True}}]},
            "in different parts",
        ),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no integer is within"),
        ({"type": "string", "pattern": "(?=x)"}, "not supported"),
        ({"type": "string", "pattern": "("}, "no regular expression"),
        ({"type": "string", "minLength": -1}, "at least 0"),
        ({"type": "array", "items": 5}, "a schema must be an object"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "nothing is allowed here"),
    ],
)
def test_refused_with_a_reason(schema: dict[str, Any], reason: str) -> None:
    """The error says what is wrong, not only that something is."""
    with pytest.raises(SchemaError, match=re.escape(reason)):
        schema_grammar(schema)


@pytest.mark.parametrize(
    "keywords",
    [
        {"not": False},
        {"if": {"type": "null"}},
        {"then": {"const": 1}},
        {"dependentRequired": {}},
        {"minContains": 2},
    ],
)
def test_keywords_that_ask_for_nothing(keywords: dict[str, Any]) -> None:
    """What allows everything is no reason to refuse a schema."""
    assert schema_grammar({"type": "boolean", **keywords}) == schema_grammar({"type": "boolean"})


def test_deep_nesting_is_refused() -> None:
    """A schema cannot make the compiler recurse without end."""
    schema: dict[str, Any] = {"type": "boolean"}
    for _ in range(500):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaError, match="nested deeper"):
        schema_grammar(schema)


def as_regex(gbnf: str) -> re.Pattern[str]:
    """The alternatives of an integer range are regular: quotes and blanks off, they are a regular expression."""
    return re.compile(re.sub(r'"([^"]*)"', r"\1", gbnf).replace(" ", ""))


@given(st.integers(-100_000, 100_000), st.integers(-100_000, 100_000), st.integers(-110_000, 110_000))
def test_integer_range_is_exact(first: int, second: int, probe: int) -> None:
    """A number matches exactly if it is within the bounds."""
    low, high = min(first, second), max(first, second)
    matches = as_regex(integer_range(low, high)).fullmatch(str(probe)) is not None
    assert matches == (low <= probe <= high)
    for edge in (low, high):
        assert as_regex(integer_range(low, high)).fullmatch(str(edge))
