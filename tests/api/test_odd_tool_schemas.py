"""Schemas of tools in odd forms: what they evidently mean, on every surface, without an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral.api.native.protocol import read_chat

ODD: list[tuple[Any, tuple[str, ...], tuple[str, ...]]] = [
    ({"type": "object", "properties": {"a": "string"}}, ("string",), ()),
    ({"type": "object", "properties": {"a": ["string", "null"]}}, ("string", "null"), ()),
    ({"type": ["null", "object"], "properties": {"a": True}}, (), ()),
    ({"properties": {"a": {"type": ["string", None]}}, "required": "a"}, ("string", "null"), ("a",)),
    ({"properties": {"a": {"anyOf": {"type": "string"}, "enum": "x"}}, "required": {}}, (), ()),
    ({"properties": {"a": {"type": "integer", "required": True}}, "required": None}, ("integer",), ("a",)),
    ({"properties": {"a": []}, "required": True}, (), ()),
]


@pytest.mark.parametrize(("schema", "types", "required"), ODD)
def test_an_odd_schema_of_a_tool(schema: Any, types: tuple[str, ...], required: tuple[str, ...]) -> None:
    """Types and required names as they are meant."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    request, _ = read_chat(json.dumps({"model": "m", "messages": [], "tools": [tool]}).encode(), 100)
    parameters = request.tools[0].function.parameters
    assert parameters.properties is not None
    assert (parameters.properties["a"].types, parameters.required) == (types, required)


@pytest.mark.parametrize("schema", [None, {}, [], True, {"type": "object", "properties": []}])
def test_a_tool_without_parameters(schema: Any) -> None:
    """Whatever stands for nothing."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    request, _ = read_chat(json.dumps({"model": "m", "messages": [], "tools": [tool]}).encode(), 100)
    assert not request.tools[0].function.parameters.properties
