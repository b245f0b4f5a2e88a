"""Schemas that are not quite schemas: each is what it evidently means, judged by texts that its grammar allows."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest

from corral.chat.grammar import compile_schema, schema_grammar
from tests.chat.grammar.gbnf import Grammar

# What came, and what it means in JSON Schema 2020-12.
MEANINGS: list[tuple[Any, Any]] = [
    ({"properties": {"a": True}, "required": ["a"]}, {"properties": {"a": {}}, "required": ["a"]}),
    ({"type": "object", "properties": {"a": {"type": "null"}, "b": False}}, {"properties": {"a": {"type": "null"}}}),
    ({"type": "object", "properties": []}, {"type": "object"}),
    ({"type": "object", "properties": None}, {"type": "object"}),
    ({"type": ["object"], "properties": {"a": {"type": "null"}}}, {"type": "object"}),
    ({"type": "STRING", "enum": ["a"]}, {"const": "a"}),
    ({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]},
     {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
    ({"type": "str"}, {"type": "string"}),
    ({"type": "int"}, {"type": "integer"}),
    ({"type": "float"}, {"type": "number"}),
    ({"type": "bool"}, {"type": "boolean"}),
    ({"type": "dict"}, {"type": "object"}),
    ({"type": "list", "items": {"type": "bool"}}, {"type": "array", "items": {"type": "boolean"}}),
    ({"type": "any", "enum": [1, "x"]}, {"enum": [1, "x"]}),
    ({"type": ["boolean", None]}, {"type": ["boolean", "null"]}),
    ({"type": "boolean", "nullable": True}, {"type": ["boolean", "null"]}),
    ({"type": "string", "enum": ["x"], "nullable": True}, {"enum": ["x", None]}),
    ({"$ref": "#/$defs/b", "nullable": True, "$defs": {"b": {"type": "boolean"}}}, {"type": ["boolean", "null"]}),
    ({"enum": "x"}, {"const": "x"}),
    ({"enum": [1, "x", None, True, [2]], "type": ["integer", "null"]}, {"enum": [1, None]}),
    ({"properties": {"a": {"type": "boolean", "required": True}}},
     {"properties": {"a": {"type": "boolean"}}, "required": ["a"]}),
    ({"properties": {"a": {"type": "boolean"}}, "required": "a"}, {"required": ["a"]}),
    ({"properties": {"a": {"type": "boolean"}}, "required": ["a", 5]}, {"required": ["a"]}),
    ({"properties": {"a": {"type": "boolean"}}, "required": {}}, {"properties": {"a": {"type": "boolean"}}}),
    ({"properties": {"a": "boolean"}, "required": ["a"]},
     {"properties": {"a": {"type": "boolean"}}, "required": ["a"]}),
    ({"properties": {"a": ["boolean", "null"]}, "required": ["a"]},
     {"properties": {"a": {"type": ["boolean", "null"]}}, "required": ["a"]}),
    ({"properties": {"a": []}, "required": ["a"]}, {"required": ["a"]}),
    ({"items": [{"type": "boolean"}, {"type": "null"}], "minItems": 2, "additionalItems": False},
     {"prefixItems": [{"type": "boolean"}, {"type": "null"}], "minItems": 2, "items": False}),
    ({"type": "array", "items": True}, {"type": "array"}),
    ({"type": "array", "items": []}, {"type": "array"}),
    ({"type": "object", "additionalProperties": {}}, {"type": "object"}),
    ({"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 2}, {"enum": [1, 2]}),
    ({"type": "integer", "minimum": "3", "maximum": "3"}, {"const": 3}),
    ({"type": "string", "minLength": 2.0, "maxLength": "3"}, {"type": "string", "minLength": 2, "maxLength": 3}),
    ({"anyOf": {"type": "boolean"}}, {"type": "boolean"}),
    ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "boolean"}}}, {"type": "boolean"}),
    ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "boolean"}}}, {"type": "boolean"}),
    ({"$ref": "#/$defs/a%2Fb~0c", "$defs": {"a": {"b~c": {"type": "boolean"}}}}, {"type": "boolean"}),
    ({"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "boolean"}}}, {"type": "boolean"}),
    ({"$ref": "https://example.com/b", "$defs": {"x": {"$id": "https://example.com/b", "type": "boolean"}}},
     {"type": "boolean"}),
    ({"$ref": "b.json", "$defs": {"x": {"$id": "https://example.com/b.json", "type": "boolean"}}},
     {"type": "boolean"}),
    ({"$id": "https://x.org/s", "$ref": "https://x.org/s#/$defs/b", "$defs": {"b": {"const": 1}}}, {"const": 1}),
    ({"enum": ["a\ud800b"]}, {"const": "a\ud800b"}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "meant"), MEANINGS, ids=lambda schema: json.dumps(schema)[:60])
def test_an_odd_schema_is_what_it_means(given: Any, meant: Any) -> None:
    """Strictly, so nothing of it is left out either."""
    grammar = Grammar(schema_grammar(given))
    validator = jsonschema.Draft202012Validator(meant)
    for seed in range(25):
        validator.validate(json.loads(grammar.text(random.Random(seed))))


def test_a_tree_through_its_root() -> None:
    """`#`, and a definition that leads back."""
    tree = {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}
    grammar = Grammar(schema_grammar(tree))
    for seed in range(10):
        jsonschema.Draft202012Validator(tree).validate(json.loads(grammar.text(random.Random(seed))))


@pytest.mark.parametrize("kind", ["nope", {"a": 1}, 5, ["string", "nope"]])
def test_a_type_without_meaning_is_any(kind: Any) -> None:
    """And is named."""
    found = compile_schema({"type": "object", "properties": {"a": {"type": kind}}, "required": ["a"]})
    assert found.unheld == ("#/properties/a/type",)
    assert "value" in found.text
