"""Conversations through Go templates: recorded renders and errors, collation, legacy turns."""

from __future__ import annotations

import json
from base64 import b64decode
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.gotemplate import Template
from corral.chat.templates.go_output import thinking_tags, tool_tag
from corral.chat.templates.gochat import collate, render_messages, render_suffix
from corral.errors import TemplateError
from corral.types import Message, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty

# Templates, conversations and what Ollama makes of them.
CASES: dict[str, Any] = json.loads((Path(__file__).parent / "go_template_cases.json").read_text())


def read_property(data: dict[str, Any]) -> ToolProperty:
    types = data.get("type", [])
    properties = data.get("properties")
    return ToolProperty(
        types=(types,) if isinstance(types, str) else tuple(types),
        description=data.get("description", ""),
        enum=tuple(data.get("enum", ())),
        properties=properties and {name: read_property(item) for name, item in properties.items()},
    )


def read_tool(data: dict[str, Any]) -> Tool:
    function = data["function"]
    parameters = function.get("parameters", {})
    properties = parameters.get("properties")
    return Tool(
        data["type"],
        function=ToolFunction(
            function["name"],
            function.get("description", ""),
            ToolParameters(
                parameters.get("type", ""),
                required=tuple(parameters.get("required", ())),
                properties=properties and {name: read_property(item) for name, item in properties.items()},
            ),
        ),
    )


def read_message(data: dict[str, Any]) -> Message:
    calls = [(call["function"], call.get("id", "")) for call in data.get("tool_calls", ())]
    return Message(
        data["role"],
        data["content"],
        data.get("thinking", ""),
        tuple(map(b64decode, data.get("images", ()))),
        tuple(
            ToolCall(call["name"], call["arguments"], call.get("index", 0), call_id)
            for call, call_id in calls
        ),
        data.get("tool_name", ""),
        data.get("tool_call_id", ""),
    )


@pytest.mark.parametrize("case", CASES["renders"], ids=lambda case: case["template"][:60])
def test_recorded_renders(case: dict[str, Any]) -> None:
    """Every recorded template gives the recorded text or the recorded error."""

    def render() -> str:
        template = Template.parse(case["template"])
        if "suffix" in case:
            return render_suffix(template, case["prompt"], case["suffix"], case.get("think"))
        messages = [read_message(data) for data in CASES["conversations"][case["messages"]]]
        tools = [read_tool(data) for data in CASES["tools"].get(case.get("tools"), ())]
        return render_messages(template, messages, tools, case.get("think"))

    if "error" in case:
        with pytest.raises(TemplateError) as caught:
            render()
        assert str(caught.value) == case["error"]
    else:
        assert render() == case["text"]


@pytest.mark.parametrize("case", CASES["inferences"], ids=lambda case: case["template"][:60])
def test_recorded_inferences(case: dict[str, Any]) -> None:
    """Tags and variables read out of recorded templates."""
    template = Template.parse(case["template"])
    if "tool_tag" in case:
        assert tool_tag(template) == case["tool_tag"]
    if "think_tags" in case:
        assert (thinking_tags(template) or ("", "")) == tuple(case["think_tags"])
    if "vars" in case:
        assert list(template.variables()) == case["vars"]


@pytest.mark.parametrize(
    ("body", "tag"),
    [
        ("{{ if .X }}{{ .Y }}{{ else }}<a>{{ end }}<b>", "<a>"),
        ("{{ if .X }}{{ .Y }}{{ end }}<b>", "{"),
        (" \r\n[T]\r\n{x", "[T]"),
        ("{{ with .X }}\n{{ range .Z }}<c>{{ end }}{{ end }}", "<c>"),
    ],
)
def test_tool_tag_is_the_first_text_of_the_branch(body: str, tag: str) -> None:
    """The tag is looked for inside the first block, its else branch too, and never behind it."""
    assert (
        tool_tag(
            Template.parse(
                f"{{{{ range .Messages }}}}{{{{ if .ToolCalls }}}}{body}{{{{ end }}}}{{{{ end }}}}"
            )
        )
        == tag
    )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("{{ .Function.Arguments.city.x }}", "can't evaluate field x in type interface {}"),
        ("{{ .Function.Name.x }}", "can't evaluate field x in type string"),
        ("{{ .Function.X }}", "can't evaluate field X in type template.templateToolCallFunction"),
        ("{{ .Function.Arguments.String 1 }}", "wrong number of args for String: want 0 got 1"),
        ("{{ range .Function.Arguments }}{{ .x }}{{ end }}", "can't evaluate field x in type interface {}"),
    ],
)
def test_errors_inside_tool_calls(action: str, message: str) -> None:
    """Errors name the types that Ollama's template values have."""
    messages = [Message("assistant", tool_calls=(ToolCall("f", {"city": "Paris"}),))]
    template = Template.parse(
        f"{{{{ range .Messages }}}}{{{{ range .ToolCalls }}}}{action}{{{{ end }}}}{{{{ end }}}}"
    )
    with pytest.raises(TemplateError) as caught:
        render_messages(template, messages)
    assert str(caught.value).endswith(": " + message)


def test_cut_inside_a_branch_drops_the_other_one() -> None:
    """A response slot inside an `if` with `else` ends the prompt there (Ollama crashes on it)."""
    template = Template.parse("{{ if .Prompt }}{{ .Prompt }}:{{ .Response }}{{ else }}none{{ end }}END")
    messages = [Message("user", "U1"), Message("assistant", "A1"), Message("user", "U2")]
    assert render_messages(template, messages) == "U1:A1ENDU2:"


MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.text(max_size=5)),
    max_size=8,
)


@given(MESSAGES)
def test_collation_keeps_every_text(messages: list[Message]) -> None:
    """Neighbours differ in role afterwards, tool results apart, and no content is lost."""
    merged = collate(messages)
    for left, right in pairwise(merged):
        assert left.role != right.role or left.role == "tool"
    for role in ("system", "user", "assistant", "tool"):
        before = "\n\n".join(message.content for message in messages if message.role == role)
        after = "\n\n".join(message.content for message in merged if message.role == role)
        assert before == after


@given(MESSAGES)
def test_rendering_leaves_the_messages_alone(messages: list[Message]) -> None:
    """The caller's list is the same afterwards."""
    before = list(messages)
    render_messages(Template.parse("{{ range .Messages }}{{ .Content }}{{ end }}"), messages)
    assert messages == before
