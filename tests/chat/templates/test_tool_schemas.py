"""Tool schemas in prompts: whole where a family writes JSON or XML, without references in its own form."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from corral.chat.families.known import find_renderer, renderer_names
from corral.chat.gotemplate import Template
from corral.chat.templates.gochat import render_messages
from corral.chat.templates.jinja import ChatTemplate
from corral.types import Message, Tool, ToolFunction, ToolParameters, ToolProperty

# Forms of their own that hold only what their models know, and one without tools.
OWN_FORM = ("gemma4", "gemma4-small", "gemma4-large", "functiongemma")
NO_TOOLS = ("olmo3-think", "olmo3-32b-think")
PLACE = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOL = Tool(
    "function",
    function=ToolFunction(
        "f",
        "d",
        ToolParameters(
            "object",
            defs={"Place": PLACE},
            properties={
                "city": ToolProperty(description="zzwhere", others={"$ref": "#/$defs/Place"}),
                "fixed": ToolProperty(others={"const": "zzconst"}),
                "code": ToolProperty(
                    types=("string",),
                    others={"pattern": "zzpat", "default": "zzdef", "title": "zztitle", "format": "zzformat"},
                ),
                "sum": ToolProperty(others={"allOf": [{"type": "string", "description": "zzall"}]}),
                "size": ToolProperty(types=("number",), others={"minimum": 4711, "multipleOf": 0.25}),
                "one": ToolProperty(others={"oneOf": [{"type": "string", "description": "zzone"}]}),
                "nested": ToolProperty(
                    types=("object",), properties={"inner": ToolProperty(others={"const": "zzinner"})}
                ),
            },
            others={"additionalProperties": False, "minProperties": 815},
        ),
    ),
)
MARKS = (
    *(
        "$ref",
        "#/$defs/Place",
        "$defs",
        "zzwhere",
        "zzconst",
        "zzpat",
        "zzdef",
        "zztitle",
        "zzformat",
        "zzall",
    ),
    *("4711", "0.25", "zzone", "zzinner", "additionalProperties", "815"),
)
USER = [Message("user", "Hi")]


def missing(text: str, marks: Any = MARKS) -> list[str]:
    return [mark for mark in marks if mark not in text]


@pytest.mark.parametrize("name", [n for n in renderer_names() if n not in (*OWN_FORM, *NO_TOOLS)])
def test_renderers_show_all_of_a_schema(name: str) -> None:
    """Every member that was sent is in the prompt."""
    renderer = find_renderer(name)
    assert renderer is not None
    text = renderer.render(USER, [TOOL], None, today=datetime.date(2026, 1, 2))
    assert not missing(text)


@pytest.mark.parametrize("name", OWN_FORM)
def test_forms_without_references_show_what_is_meant(name: str) -> None:
    """Gemma's declarations have no word for a reference."""
    renderer = find_renderer(name)
    assert renderer is not None
    text = renderer.render(USER, [TOOL], None)
    assert "$ref" not in text and not missing(text, ("zzwhere", "city:{", "OBJECT", "zzall"))


@pytest.mark.parametrize(
    "source",
    [
        "{{ .Tools }}{{ range .Messages }}{{ .Content }}{{ end }}",
        "{{ range .Tools }}{{ json . }}{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}",
        "{{ range .Tools }}{{ .Function.Parameters | json }}{{ end }}{{ range .Messages }}{{ end }}",
    ],
)
def test_go_templates_show_all_of_a_schema(source: str) -> None:
    """As JSON of the list, of a tool, of its parameters."""
    assert not missing(render_messages(Template.parse(source), USER, [TOOL]))


def test_go_templates_show_all_of_a_property() -> None:
    """Members of the parameters themselves are not in it."""
    source = "{{ range .Tools }}{{ .Function.Parameters.Properties }}{{ end }}{{ range .Messages }}{{ end }}"
    text = render_messages(Template.parse(source), USER, [TOOL])
    assert not missing(text, [mark for mark in MARKS if mark not in ("$defs", "additionalProperties", "815")])


def test_fields_of_go_templates_know_references() -> None:
    """A template that writes types gets those of what a reference names, as gpt-oss's does."""
    source = (
        "{{ range .Tools }}{{ range $n, $p := .Function.Parameters.Properties }}"
        "{{ $n }}:{{ $p | toTypeScriptType }}:{{ $p.Enum }};{{ end }}{{ end }}{{ range .Messages }}{{ end }}"
    )
    text = render_messages(Template.parse(source), USER, [TOOL])
    assert "city:Record<string, any>:[];" in text and "fixed:string:[zzconst];" in text
    assert "sum:string" in text and "one:string" in text


def test_jinja_templates_show_all_of_a_schema() -> None:
    """In the members that the template itself picks, too."""
    assert not missing(ChatTemplate.parse("{{ tools | tojson }}").render(USER, [TOOL]))
    source = "{% for t in tools %}{{ t.function.parameters.properties.code.pattern }}{% endfor %}"
    assert ChatTemplate.parse(source).render(USER, [TOOL]) == "zzpat"
