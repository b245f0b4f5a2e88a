"""What no answer could fit is refused, what cannot be held is named, with its place; integer ranges are exact."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.grammar import compile_schema, schema_grammar
from corral.chat.grammar.numbers import integer_range
from corral.errors import SchemaError

# What no answer could fit, and what is no schema.
REFUSED: list[tuple[Any, str]] = [
    ({"$ref": "#/$defs/none"}, "points to nothing"),
    ({"$ref": "http://example.com/x"}, "does not point into the same schema"),
    ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "means only itself"),
    ({"not": {}}, "nothing is allowed here"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "#/properties/a: nothing is allowed"),
    (
        {"properties": {"a": {"type": "integer", "enum": ["x"]}}, "required": ["a"]},
        "at #/properties/a: no value",
    ),
    ({"properties": {"a": True}, "propertyNames": {"enum": ["b"]}, "required": ["a"]}, "at #/properties/a"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "no integer is within"),
    ({"type": "array", "items": 5}, "a schema must be an object"),
    ({"allOf": [{"type": "string"}, {"type": "null"}]}, "nothing is allowed here"),
    ({"type": "string", "pattern": "^a{5}$", "maxLength": 4}, "no text of the length"),
    ({"type": "array", "minItems": 3, "maxItems": 2}, "maxItems is smaller than minItems"),
    ({"type": "string", "enum": ["a\ud800b"], "maxLength": 1}, "no value is allowed"),
]
# What is left to the model, by its place, and refused only where nothing may be left.
UNHELD: list[tuple[Any, str]] = [
    ({"type": "nope"}, "#/type"),
    ({"type": "object", "properties": {"a": {"type": "x"}}}, "#/properties/a/type"),
    ({"type": "object", "required": ["a"], "additionalProperties": False}, "#/required"),
    ({"properties": {"a": {"type": "string", "pattern": "("}}}, "#/properties/a/pattern"),
    ({"type": "string", "pattern": "(a)\\1"}, "#/pattern"),
    ({"type": "string", "pattern": "\\bword\\b"}, "#/pattern"),
    ({"type": "string", "format": "nonsense"}, "#/format"),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "#/uniqueItems"),
    ({"type": "array", "contains": {"const": 1}, "maxContains": 1}, "#/maxContains"),
    ({"type": "integer", "multipleOf": 10**9}, "#/multipleOf"),
    ({"type": "string", "minLength": 10**9}, "#/minLength"),
    ({"type": "object", "not": {"additionalProperties": False}}, "#/not"),
    ({"type": "string", "minLength": "many"}, "#/minLength"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#/oneOf"),
    ({"oneOf": [{"properties": {"a": True}}, {"properties": {"b": True}}]}, "#/oneOf"),
]


@pytest.mark.parametrize(("schema", "reason"), REFUSED)
@pytest.mark.parametrize("is_strict", [False, True])
def test_refused_with_a_reason(schema: dict[str, Any], reason: str, is_strict: bool) -> None:
    """The error says what is wrong and where, whatever may be left to the model."""
    with pytest.raises(SchemaError, match=re.escape(reason)):
        compile_schema(schema, is_strict=is_strict)


@pytest.mark.parametrize(("schema", "place"), UNHELD)
def test_what_cannot_be_held_is_named(schema: dict[str, Any], place: str) -> None:
    """A grammar all the same, with the place; with the strict switch an error at that place."""
    assert compile_schema(schema).unheld == (place,)
    where, _, keyword = place.rpartition("/")
    with pytest.raises(SchemaError, match=re.escape(f"at {where}: {keyword!r} is not supported")):
        compile_schema(schema, is_strict=True)


@pytest.mark.parametrize(
    "keywords",
    [
        {"not": False},
        {"if": {"type": "null"}},
        {"then": {"const": 1}},
        {"dependentRequired": {}},
        {"minContains": 2},
        {"enum": []},
        {"anyOf": []},
        {"required": None},
        {"nullable": False},
        {"minLength": -1},
    ],
)
def test_keywords_that_ask_for_nothing(keywords: dict[str, Any]) -> None:
    """What allows everything is no reason to refuse a schema."""
    assert schema_grammar({"type": "boolean", **keywords}) == schema_grammar({"type": "boolean"})


def test_kinds_that_cannot_both_fit_are_held() -> None:
    """Types, single values, and members that tell them apart."""
    kinds = [
        {"type": "object", "properties": {"t": {"const": name}}, "required": ["t"]}
        for name in ("a", "b", "c")
    ]
    schema = {"oneOf": [*kinds, {"type": "null"}, {"type": "string", "enum": ["x"]}, {"const": "y"}]}
    assert compile_schema(schema).unheld == ()
    assert schema_grammar(schema) == compile_schema(schema).text


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
