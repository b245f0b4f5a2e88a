"""Schemas of tools: nothing of them is lost, and references are resolved within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral.api.reading import tool_schemas
from corral.api.reading.decode import Decoding
from corral.api.reading.jsonread import read_members
from corral.chat.toolschema import parameters_json, resolved_parameters, resolved_property
from corral.errors import InvalidRequestError
from corral.types import Tool, ToolParameters

POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
WHOLE = {
    "type": "object",
    "$defs": {"Point": POINT},
    "required": ["at"],
    "properties": {
        "at": {"description": "where", "$ref": "#/$defs/Point"},
        "kind": {"const": "circle"},
        "size": {"type": "number", "exclusiveMinimum": 0, "maximum": 10, "multipleOf": 0.5, "default": 1},
        "code": {"type": "string", "title": "Code", "pattern": "^a+$", "format": "uri", "maxLength": 9},
        "one": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        "all": {"allOf": [{"$ref": "#/$defs/Point"}, {"properties": {"y": {"type": "number"}}}]},
        "open": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
        "list": {"type": "array", "items": {"$ref": "#/$defs/Point"}, "minItems": 1, "uniqueItems": True},
    },
    "additionalProperties": False,
    "title": "Shapes",
}


def tool(parameters: Any) -> Tool:
    """A tool as a request brings it."""
    body = json.dumps({"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]})
    (member,) = read_members(body.encode(), "api.ChatRequest", max_depth=100)
    decoding = Decoding("ChatRequest")
    decoded = tool_schemas.tools(decoding, member[1], "tools", "")
    if decoding.soft_error:
        raise InvalidRequestError(decoding.soft_error)
    assert decoded is not None
    return decoded[0]


def schema(parameters: Any) -> dict[str, Any]:
    return parameters_json(tool(parameters).function.parameters)


def test_every_member_of_a_schema_is_kept() -> None:
    """What goes in comes out, member by member."""
    assert schema(WHOLE) == WHOLE


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"properties": {"a": True}}, {"properties": {"a": {}}}),
        ({"properties": {"a": {"type": "string"}, "b": False}}, {"properties": {"a": {"type": "string"}}}),
        ({"type": "object", "properties": []}, {"type": "object", "properties": {}}),
        ({"properties": {"a": {"properties": []}}}, {"properties": {"a": {"properties": {}}}}),
        ({"properties": {"a": []}}, {"properties": {"a": {}}}),
        ({"type": ["object"]}, {"type": "object"}),
        ({"type": ["object", "null"]}, {"type": "object"}),
        (
            {"properties": {"a": {"type": "string", "required": True}}},
            {"required": ["a"], "properties": {"a": {"type": "string"}}},
        ),
        ({"properties": {"a": {"required": False}}}, {"properties": {"a": {}}}),
        ({"required": True, "properties": {}}, {"properties": {}}),
        (
            {"required": ["a"], "properties": {"a": {"required": True}}},
            {"required": ["a"], "properties": {"a": {}}},
        ),
        (
            {"properties": {"a": {"properties": {"b": {"required": True}}}}},
            {"properties": {"a": {"properties": {"b": {}}, "required": ["b"]}}},
        ),
        (
            {"properties": {"a": {"anyOf": [True, {"type": "null"}]}}},
            {"properties": {"a": {"anyOf": [{}, {"type": "null"}]}}},
        ),
        ([], {}),
        ({"required": "a"}, {"required": ["a"]}),
        (True, {}),
        (None, {}),
        ({"properties": {"a": {"default": None}}}, {"properties": {"a": {"default": None}}}),
        ({"definitions": {"A": {}}, "properties": {}}, {"properties": {}, "definitions": {"A": {}}}),
    ],
)  # fmt: skip
def test_odd_schemas_are_taken_by_their_meaning(sent: Any, meant: Any) -> None:
    """Slips that real clients make."""
    assert schema(sent) == meant


@pytest.mark.parametrize("sent", ["none", 5, {"properties": 5}, {"properties": {"a": 5}}])
def test_what_has_no_meaning_is_refused(sent: Any) -> None:
    """No schema can be read out of these."""
    with pytest.raises(InvalidRequestError):
        tool(sent)


def test_tools_without_a_name_are_refused() -> None:
    """Where a model could not call them."""
    with pytest.raises(InvalidRequestError, match=r"tools\[1\] has no name"):
        tool_schemas.named_tools([tool({}), Tool("function")])


def test_references_are_resolved() -> None:
    """What a property is, whatever the way in which the schema says so; what stands beside a reference counts."""
    found = resolved_parameters(tool(WHOLE).function.parameters)
    assert found.properties is not None
    at = parameters_json(ToolParameters(properties={"at": found.properties["at"]}))["properties"]["at"]
    assert at == {**POINT, "description": "where"}
    assert found.properties["kind"].enum == ("circle",) and found.properties["kind"].types == ("string",)
    assert [option.types for option in found.properties["one"].any_of] == [("string",), ("null",)]
    assert set(found.properties["all"].properties or ()) == {"x", "y"}
    assert found.properties["list"].items == POINT
    assert found.defs is None


def test_a_schema_of_nothing_but_a_reference() -> None:
    """Generators write whole models so."""
    found = resolved_parameters(
        tool({"$ref": "#/$defs/Point", "$defs": {"Point": POINT}}).function.parameters
    )
    assert found.type == "object" and found.required == ("x",) and list(found.properties or ()) == ["x"]


def test_plain_schemas_are_left_alone() -> None:
    """No work and no copy for most tools."""
    parameters = tool({"type": "object", "properties": {"a": {"type": "string"}}}).function.parameters
    assert resolved_parameters(parameters) is parameters
    assert resolved_property(parameters, "a") is (parameters.properties or {})["a"]
    assert resolved_property(parameters, "b") is None


def test_references_without_end() -> None:
    """A schema that holds itself, one that fans out, and one that leads nowhere."""
    tree = {"$defs": {"T": {"type": "object", "properties": {"l": {"$ref": "#/$defs/T"}}}}}
    found = resolved_property(
        tool({**tree, "properties": {"t": {"$ref": "#/$defs/T"}}}).function.parameters, "t"
    )
    assert found is not None and found.properties is not None and found.properties["l"].types == ("object",)
    fan = {f"D{i}": {"properties": {n: {"$ref": f"#/$defs/D{i + 1}"} for n in "abcdefgh"}} for i in range(40)}
    resolved_parameters(tool({"$defs": fan, "properties": {"t": {"$ref": "#/$defs/D0"}}}).function.parameters)
    lost = tool({"properties": {"t": {"$ref": "#/nowhere", "type": "string"}}}).function.parameters
    assert (resolved_parameters(lost).properties or {})["t"].types == ("string",)
