"""Tools on the four surfaces: schemas with common slips are taken, tools that nobody can call are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Server

TEMPLATE = "{{ range .Tools }}{{ json . }}{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}"
SCHEMAS = (
    {"type": "object", "properties": {"city": True}},
    {"type": "object", "properties": {"city": {"type": "string"}, "x": False}},
    {"type": "object", "properties": [], "required": []},
    {"type": ["object"], "properties": {"city": {"type": "string"}}},
    {"type": "object", "properties": {"city": {"type": "string", "required": True}}},
)


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    server.create("tools", "say", template=TEMPLATE)
    return "tools"


def bodies(model: str, name: str, schema: Any) -> list[tuple[str, dict[str, Any]]]:
    messages = [{"role": "user", "content": "Hi"}]
    function = {"name": name, "description": "d", "parameters": schema}
    chat = {"model": model, "messages": messages, "tools": [{"type": "function", "function": function}]}
    return [
        ("/api/chat", {**chat, "stream": False, "options": {"num_predict": 3}}),
        ("/v1/chat/completions", {**chat, "max_tokens": 3}),
        (
            "/v1/messages",
            {**chat, "max_tokens": 3, "tools": [{"name": name, "description": "d", "input_schema": schema}]},
        ),
        (
            "/v1/responses",
            {
                "model": model,
                "input": "Hi",
                "max_output_tokens": 3,
                "tools": [{"type": "function", **function}],
            },
        ),
    ]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_common_slips_are_taken(server: Server, model: str, schema: Any) -> None:
    """By their evident meaning, on every surface."""
    for path, body in bodies(model, "f", schema):
        status, answer = server.request("POST", path, body)
        assert status == 200, (path, answer)


def test_tools_without_a_name(server: Server, model: str) -> None:
    """400 on the surfaces whose own API says so; Ollama's native API takes them."""
    for path, body in bodies(model, "", {}):
        status, answer = server.request("POST", path, body)
        assert status == (200 if path == "/api/chat" else 400), (path, answer)
        assert status == 200 or b"has no name" in answer
    other_form = {"type": "function", "name": "f", "parameters": {}}
    _, (path, body), *_ = bodies(model, "f", {})
    assert server.request("POST", path, {**body, "tools": [other_form]})[0] == 400


def test_whole_schemas_reach_the_model(server: Server, model: str) -> None:
    """On every surface that shows its prompt."""
    schema = {
        "type": "object",
        "$defs": {"L": {"type": "object"}},
        "properties": {"a": {"$ref": "#/$defs/L", "default": "zz1"}, "b": {"const": "zz2", "pattern": "zz3"}},
        "additionalProperties": False,
    }
    for path, body in bodies(model, "f", schema)[:2]:
        status, answer = server.request("POST", path, {**body, "_debug_render_only": True})
        assert status == 200, answer
        text = json.loads(answer)["_debug_info"]["rendered_template"]
        assert [
            mark for mark in ("$ref", "$defs", "zz1", "zz2", "zz3", "additional") if mark not in text
        ] == []
