"""What the templates of well-known families say about their replies, and that the choice reads them."""

from __future__ import annotations

import pytest

from corral.chat.parsing.call_forms import generic_form
from corral.chat.parsing.tools import ToolParser
from corral.chat.templates.jinja_output import output_form
from corral.types import Tool, ToolFunction, ToolParameters, ToolProperty
from tests.chat.templates.public_templates import TEMPLATES

PROPERTIES = {"city": ToolProperty(types=("string",))}
TOOLS = (
    Tool("function", None, ToolFunction("get_weather", "", ToolParameters("object", properties=PROPERTIES))),
)
REPLIES = {
    "llama3.1": '{"name": "get_weather", "parameters": {"city": "Rome"}}',
    "mistral-tools": '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Rome"}}]',
    "qwen2.5": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "qwen3": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    "granite": '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Rome"}}]',
    "deepseek-r1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Rome"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
}
MARKED = {
    "harmony": (
        "<|start|><|channel|><|message|>",
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{}",
    ),
    "qwen3-coder": (
        "<tool_call> <function= <parameter=",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call>",
    ),
    "glm-4.7": (
        "<tool_call> <arg_key> <arg_value>",
        "</think><tool_call>get_weather<arg_key>city</arg_key><arg_value>Rome</arg_value></tool_call>",
    ),
    "ministral": ("[TOOL_CALLS] [ARGS]", '[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}'),
    "lfm2": ("<|tool_call_start|>", '<|tool_call_start|>[get_weather(city="Rome")]<|tool_call_end|>'),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_in_the_family_s_form_is_read(name: str) -> None:
    """One call, whichever way the template leads to."""
    form = output_form(TEMPLATES[name])
    parser = form.parser.create(TOOLS, None, False) if form.parser else ToolParser(form.tool_tag, TOOLS)
    parsed, end = parser.feed(REPLIES[name]), parser.finish()
    calls = parsed.tool_calls + end.tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("get_weather", {"city": "Rome"})]
    assert (parsed.content + end.content).strip() == ""


@pytest.mark.parametrize("name", MARKED)
def test_marks_choose_a_parser(name: str) -> None:
    """Templates that are known by their marks alone."""
    source, reply = MARKED[name]
    info = output_form(source).parser
    assert info is not None
    assert info.name == name
    parser = info.create(TOOLS, None, None)
    calls = parser.feed(reply).tool_calls + parser.finish().tool_calls
    assert [call.name for call in calls] == ["get_weather"]


def test_keys_of_arguments_are_those_of_the_template() -> None:
    """Llama writes `parameters`, the others `arguments`."""
    from corral.chat.grammar.rules import Rules

    for name, key in (("llama3.1", "parameters"), ("qwen2.5", "arguments"), ("qwen3", "arguments")):
        form = output_form(TEMPLATES[name])
        text = generic_form(form.tool_tag, TEMPLATES[name], None).calls(rules := Rules(), TOOLS)
        assert f'\\"{key}\\": ' in rules.text(text), name
