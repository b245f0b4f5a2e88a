"""Random schemas: whatever a grammar allows parses and validates, judged by another implementation."""

from __future__ import annotations

import json
import random
import re
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.chat.grammar import compile_schema, schema_grammar
from corral.chat.grammar.budget import FULL_STEPS, QUICK_STEPS, WorkLimitError
from corral.errors import SchemaError
from tests.chat.grammar.gbnf import Grammar

FORMATS = ("date", "time", "date-time", "duration", "uuid", "email", "ipv4", "ipv6", "hostname", "uri")
PATTERNS = (
    "^[A-Z]{2}-\\d{3}(a|b)?$",
    "^a|b$",
    "(^x$|^y+$)",
    "[^,]+",
    "^.{2,5}$",
    "^\\w+@\\w+\\.com$",
    'quote"\\\\[^a-c]?',
    "^(?:[a-z]+/){1,3}[a-z]$",
    "\\s",
    "^[\\D]{3}$",
    "^é[à-ü漢-😀]*$",
    "",
)
_NAMES = st.sampled_from(["a", "b", "ab", "name", "a b", 'q"', "é", "x/y~z"])
_SMALL = st.integers(-30, 30)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    _SMALL,
    st.text('ab"\\\né😀', max_size=4),
    st.lists(st.integers(0, 3), max_size=2),
)


@st.composite
def integers(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(-12000, 12000))
    high = low + draw(st.one_of(st.integers(0, 30), st.integers(0, 20000)))
    keys = draw(
        st.sampled_from([("minimum",), ("maximum",), ("minimum", "maximum"), ("exclusiveMinimum", "maximum")])
    )
    schema: dict[str, Any] = {"type": "integer"}
    schema |= {key: {"minimum": low, "maximum": high, "exclusiveMinimum": low - 1}[key] for key in keys}
    if len(keys) == 2 and draw(st.booleans()):
        schema["multipleOf"] = draw(st.integers(1, high - low + 1))
        first = -(-low // schema["multipleOf"]) * schema["multipleOf"]
        if first > high:
            del schema["multipleOf"]
    elif draw(st.booleans()):
        schema = {"type": "integer", "multipleOf": draw(st.integers(1, 40))}
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"type": "number"}
    bound = st.one_of(
        st.integers(-50, 50), st.decimals(-20, 20, places=2).map(float), st.just(0), st.just(1e9)
    )
    low, high = sorted((draw(bound), draw(bound)))
    lows, highs = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
    schema: dict[str, Any] = {"type": "number"}
    if draw(st.booleans()):
        schema[draw(st.sampled_from(lows))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(highs))] = high if high > low else high + 1
    return schema


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.integers(0, 3))
    if kind == 0:
        least = draw(st.integers(0, 5))
        return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 2500))}
    if kind == 1:
        return {"type": "string", "format": draw(st.sampled_from(FORMATS))}
    if kind == 2:
        return {"type": "string", "pattern": draw(st.sampled_from(PATTERNS))}
    return {"type": "string", "pattern": "^[a-z_]+-x$", "maxLength": draw(st.integers(3, 9)), "minLength": 3}


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(st.dictionaries(_NAMES, inner, max_size=4))
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        schema["required"] = draw(st.lists(st.sampled_from([*properties, "extra"]), unique=True))
        schema["additionalProperties"] = draw(st.one_of(st.just(False), st.just(True), inner))
        if schema["additionalProperties"] is False and "extra" in schema["required"]:
            schema["required"].remove("extra")
        return schema

    return build()


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": draw(inner)}
        if draw(st.booleans()):
            schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=3))
        if draw(st.booleans()):
            schema["minItems"] = draw(st.integers(0, 3))
            schema["maxItems"] = schema["minItems"] + draw(st.integers(0, 3))
        if draw(st.booleans()):
            values = draw(st.lists(st.integers(0, 9), min_size=3, max_size=5, unique=True))
            least = draw(st.integers(0, 3))
            return {"type": "array", "uniqueItems": True, "items": {"enum": values}, "minItems": least}
        return schema

    return build()


# Patterns together with bounds of length, and what a text must not be.
BOUNDED = (
    {"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$", "maxLength": 12},
    {"type": "string", "pattern": "b.*d", "minLength": 4, "maxLength": 20},
    {"type": "string", "pattern": "^(?=.*[A-Z])(?=.*\\d)(?!.*x).{4,8}$"},
    {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "z$"}], "minLength": 5},
    {"type": "string", "format": "date", "not": {"pattern": "^20"}},
    {"type": "string", "format": "uri", "maxLength": 20},
    {"type": "string", "not": {"enum": ["", "a", "ab"]}, "maxLength": 3},
    {"type": "string", "pattern": "(?i)^abc$"},
    {"not": {"type": ["string", "object", "array"]}},
    {"type": "integer", "not": {"minimum": 5}},
)


@st.composite
def conditional_objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Objects whose members depend on each other, are counted, or are named by patterns."""
    properties = {
        "kind": {"enum": ["a", "b", 3]},
        "x": draw(inner),
        "y": draw(inner),
        "z": draw(st.sampled_from([True, {"type": "null"}])),
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    parts: dict[str, dict[str, Any]] = {
        "if": {
            "if": {"properties": {"kind": {"const": "a"}}, "required": ["kind"]},
            "then": {"required": ["x"]},
            "else": draw(
                st.sampled_from([{"required": ["y"]}, False, {"properties": {"y": {"type": "null"}}}])
            ),
        },
        "dependent": {
            "dependentRequired": {"x": ["y", "z"]},
            "dependentSchemas": {"z": {"required": ["kind"]}},
        },
        "count": {"minProperties": draw(st.integers(0, 4)), "maxProperties": 4},
        "not": {"not": {"required": ["x", "y"]}},
        "not both": {"not": {"properties": {"kind": {"const": 3}}, "required": ["kind"]}},
        "patterns": {
            "patternProperties": {"^x": {"type": "null"}, "q$": True},
            "additionalProperties": False,
        },
        "names": {"propertyNames": {"pattern": "^[a-z]{1,5}$"}, "additionalProperties": True},
    }
    for name in draw(st.lists(st.sampled_from(sorted(parts)), unique=True, max_size=3)):
        schema.update(parts[name])
    return schema


@st.composite
def odd_arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Arrays that must have something, or different things out of many."""
    least = draw(st.integers(0, 3))
    return draw(
        st.sampled_from(
            [
                {"type": "array", "contains": {"type": "null"}, "minContains": draw(st.integers(0, 2))},
                {"type": "array", "items": draw(inner), "contains": True, "maxItems": 3},
                {"type": "array", "uniqueItems": True, "items": {"enum": list(range(12))}, "minItems": least},
                {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {"enum": list("abcdefgh")},
                    "minItems": least,
                    "maxItems": least + 2,
                },
            ]
        )
    )


@st.composite
def multiples(draw: st.DrawFn) -> dict[str, Any]:
    """Steps within bounds, whole and decimal."""
    step = draw(st.sampled_from([0.01, 0.05, 0.25, 0.5, 2, 3, 7, 12, 2.5, 100]))
    low = draw(st.integers(-50, 50))
    schema = {"type": draw(st.sampled_from(["number", "integer"])), "multipleOf": step, "minimum": low}
    if draw(st.booleans()):
        schema["maximum"] = low + draw(st.integers(100, 30_000))
    return schema


_LEAVES = st.one_of(
    st.sampled_from(BOUNDED),
    integers(),
    numbers(),
    strings(),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True, {"type": ["integer", "null"]}]),
    st.lists(_VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    _VALUES.map(lambda value: {"const": value}),
    st.just({"$ref": "#/$defs/tree"}),
    st.just({"$ref": "#/$defs/small", "maximum": 5, "description": "bounded beside a reference"}),
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        arrays(inner),
        conditional_objects(inner),
        odd_arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        objects(inner).map(
            lambda first: {
                "allOf": [
                    {key: first[key] for key in ("type", "properties")},
                    {"required": [name for name in first["required"] if name in first["properties"]]},
                    {"additionalProperties": False, "properties": {name: {} for name in first["properties"]}},
                ]
            }
        ),
        st.tuples(inner, inner).map(
            lambda both: {
                "type": "object",
                "properties": {"k": {"anyOf": [{"const": 1}, {"const": 2}]}, "v": both[0], "w": both[1]},
                "anyOf": [{"required": ["k", "v"]}, {"required": ["w"]}],
                "additionalProperties": False,
            }
        ),
    ),
    max_leaves=8,
)
_DEFS = {
    "tree": {
        "type": "object",
        "properties": {
            "v": {"type": "boolean"},
            "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        },
        "required": ["v", "next"],
        "additionalProperties": False,
    },
    "small": {"type": "integer", "minimum": -2, "maximum": 9},
}


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(_SCHEMAS, st.integers(0, 2**32))
def test_every_text_of_a_grammar_validates(schema: Any, seed: int) -> None:
    """Nested, merged and recursive schemas, each with several texts; the grammar holds all that it does not name."""
    document = {"$defs": _DEFS, "allOf": [schema]} if schema is True else {"$defs": _DEFS, **schema}
    try:
        found = compile_schema(document)
    except SchemaError as exc:
        assert re.search(
            "nothing is allowed|no .* is allowed|is too small|no text fits|no multiple", str(exc)
        ), exc
        return
    if found.unheld:
        return
    grammar = Grammar(found.text)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(document, format_checker=checker)
    rng = random.Random(seed)
    for _ in range(4):
        validator.validate(json.loads(grammar.text(rng)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_give_texts_that_match(pattern: str) -> None:
    """Each of many texts, judged by the regular expression itself."""
    grammar = Grammar(schema_grammar({"type": "string", "pattern": pattern}))
    rng = random.Random(1)
    for _ in range(200):
        assert re.search(pattern, json.loads(grammar.text(rng)))


@pytest.mark.parametrize("form", FORMATS)
def test_formats_are_not_narrow(form: str) -> None:
    """What people write is allowed: the last of a month, dots in addresses, short IPv6."""
    usual = {
        "date": ["2024-02-29", "1999-12-31", "2000-02-29", "2023-04-30"],
        "time": ["23:59:59Z", "08:30:06.283185+02:00"],
        "date-time": ["2024-12-31T23:59:59Z"],
        "duration": ["P3D", "PT1H30M", "P2W"],
        "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
        "email": ["first.last+tag@mail.example.co.uk", "o'brien@example.com"],
        "ipv4": ["255.0.10.99"],
        "ipv6": ["::1", "2001:db8::8a2e:370:7334", "::", "fe80::"],
        "hostname": ["a.b-c.example.com"],
        "uri": ["https://example.com:8080/a/b?x=1&y=2#top", "http://x.org"],
    }
    source = schema_grammar({"type": "string", "format": form})
    for text in usual[form]:
        assert matches(source, json.dumps(text)), text
    for text in {"date": ["2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01"], "ipv6": ["1::2::3"]}.get(
        form, []
    ):
        assert not matches(source, json.dumps(text)), text


def matches(source: str, text: str) -> bool:
    """Whether a grammar without recursion allows a text: it becomes a regular expression."""
    rules = {line.partition(" ::= ")[0]: line.partition(" ::= ")[2] for line in source.splitlines()}

    def expand(body: str) -> str:
        token = re.compile(
            r'"((?:\\.|[^"\\])*)"|(\[(?:\\.|[^\]\\])*\])|([a-zA-Z][\w-]*)|(\s+)|([(){}|*+?0-9,])'
        )

        def replace(match: re.Match[str]) -> str:
            literal, chars, name, space, mark = match.groups()
            if literal is not None:
                return "".join(
                    re.escape(json.loads(f'"{char}"') if len(char) > 1 else char)
                    for char in re.findall(r"\\.|[^\\]", literal)
                )
            if chars:
                return chars
            if name:
                return f"(?:{expand(rules[name])})"
            return "" if space else mark

        return token.sub(replace, body)

    return re.fullmatch(expand(rules["root"]), text) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "(a{900}){900}"},
        {"type": "string", "pattern": "(" * 3000},
        {"type": "string", "pattern": "(" * 400 + "a" + ")" * 400},
        {"type": "string", "pattern": "((((a{30}){30}){30}){30}){30}"},
        {"type": "string", "pattern": "(a|aa)+$" * 200},
        {"type": "integer", "multipleOf": 10**9},
        {"type": "integer", "minimum": -(10**300), "maximum": 10**300},
        {"type": "number", "minimum": 1e-300, "maximum": 1e300},
        {"enum": [list(range(100))] * 3000},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {
            "$defs": {
                f"d{i}": {"properties": {"x": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"title": "t"}]},
                                         "y": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"title": "u"}]}}}
                for i in range(50)
            }
            | {"d50": {"type": "null"}},
            "$ref": "#/$defs/d0",
        },
        {"allOf": [{"anyOf": [{"properties": {f"{i}-{j}": {}}} for j in range(8)]} for i in range(8)]},
        {
            "$defs": {
                f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}", "title": str(j)} for j in range(4)]}
                for i in range(40)
            }
            | {"d40": {"type": "string"}},
            "allOf": [{"$ref": "#/$defs/d0"}],
        },
        {"allOf": [{"enum": list(range(20000))}, {"enum": list(range(20000, 40000))}]},
        {"type": "object", "properties": {"a" * 20000: True}, "additionalProperties": True},
        {
            "type": "object",
            "properties": {f"p{i}": {"type": "null"} for i in range(400)},
            "oneOf": [{"required": [f"p{i}"]} for i in range(400)],
        },
        {"type": "string", "pattern": "^(" + "|".join(["a?"] * 1000) + ")*$"},
        {"type": "string", "pattern": "(a|b)*a(a|b){20}"},
        {"type": "string", "pattern": "[" + "".join(chr(0x4E00 + 2 * i) for i in range(3000)) + "]{1,100}"},
        {"anyOf": [{"type": "integer", "multipleOf": 900 + i} for i in range(12)]},
        {"not": {"not": {"not": {"anyOf": [{"required": [str(i)]} for i in range(300)]}}}},
        {"type": "object", "properties": {str(i): {"type": "string"} for i in range(5000)}},
        {"type": "object", "required": [str(i) for i in range(20000)]},
        {"type": "array", "uniqueItems": True, "items": {"enum": list(range(5000))}},
        {"type": "array", "minItems": 10**9},
        {"type": ["string"] * 100000},
    ],
    ids=lambda schema: str(schema)[:40],
)  # fmt: skip
def test_hostile_schemas_end_soon(schema: dict[str, Any]) -> None:
    """A grammar of bounded size or a refusal, and neither takes much: counted in calls, within what was budgeted."""
    for steps in (QUICK_STEPS, FULL_STEPS):
        calls = 0

        def count(*_: Any) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            source = compile_schema(schema, steps=steps).text
        except (SchemaError, WorkLimitError) as exc:
            source = ""
            assert len(str(exc)) < 1000
        finally:
            sys.setprofile(None)
        assert len(source) < 4 << 20
        assert calls < 30 * steps
