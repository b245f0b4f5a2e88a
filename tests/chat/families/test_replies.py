"""What single families do beyond the recorded replies."""

from __future__ import annotations

from typing import Any

import pytest

from corral.chat.families.harmony import FAMILY as HARMONY
from corral.chat.families.harmony import harmony_names
from corral.chat.families.known import find_parser, parser_names
from tests.chat.parsing.cases import TOOLS, join, make_parser, run

_OPEN_ATEM, _CLOSE_ATEM = "<atem:function_calls>", "</atem:function_calls>"
_GET = '{"name":"get","arguments":{}}'

# Parser, think, reply, what it means.
CASES: list[tuple[str, Any, str, dict[str, Any]]] = [
    ("qwen3", None, 'x <tool_call>{"name":"get","arguments":{}}', {"c": "x", "calls": [["get", {}]]}),
    ("qwen3", None, 'x <tool_call>{"name":"get"', {"c": 'x <tool_call>{"name":"get"'}),
    ("qwen3", None, "a </tool", {"c": "a </tool"}),
    ("qwen3", None, "a <tool_cal", {"c": "a <tool_cal"}),
    ("qwen3-thinking", None, "<thi", {"t": "<thi"}),
    ("qwen3-thinking", None, "a </thin", {"t": "a </thin"}),
    (
        "qwen3-coder",
        None,
        "<tool_call><function=get></function></tool_call> bye",
        {"c": " bye", "calls": [["get", {}]]},
    ),
    ("ministral", None, "[THINK]a[/THINK]\nb", {"t": "a", "c": "b"}),
    ("ministral", None, '[TOOL_CALLS]get[ARGS]{"a":"}"', {"c": '[TOOL_CALLS]get[ARGS]{"a":"}"'}),
    (
        "olmo3",
        None,
        "<function_calls>no call</function_calls>!",
        {"c": "<function_calls>no call</function_calls>!"},
    ),
    (
        "lfm2",
        None,
        "[get(), get_weather(city='P')]",
        {"calls": [["get", {}], ["get_weather", {"city": "P"}]]},
    ),
    ("lfm2", None, "[get(), other()]", {"c": "[get(), other()]"}),
    ("lfm2", None, "[get", {"c": "[get"}),
    ("gemma4", True, "<|channel>th", {"t": "th"}),
    (
        "gemma4",
        True,
        "<|tool_call>call:get{}<tool_call|><tool_call|>\n<|tool_response>ok",
        {"c": "ok", "calls": [["get", {}]]},
    ),
    (
        "gemma4",
        True,
        "<|tool_call>call:get{}<|tool_call>call:get{}<tool_call|>",
        {"calls": [["get", {}], ["get", {}]]},
    ),
    ("gemma4", True, "<|tool_call>nonsense<tool_call|>", {"c": "<|tool_call>nonsense<tool_call|>"}),
    (
        "functiongemma",
        None,
        "<start_function_call>nonsense<end_function_call>",
        {"c": "<start_function_call>nonsense<end_function_call>"},
    ),
    (
        "glm-4.7",
        None,
        "a</think><tool_call>get_weather<arg_key>city</arg_key><arg_value>P",
        {"t": "a", "calls": [["get_weather", {"city": "P"}]]},
    ),
    ("laguna", False, 'x {"name": "get", "arguments": {}} y', {"c": "x y", "calls": [["get", {}]]}),
    (
        "laguna",
        False,
        'x {"name": "nope", "arguments": {}} y',
        {"c": 'x {"name": "nope", "arguments": {}} y'},
    ),
    ("laguna", False, "if (a) {\n  b();\n}", {"c": "if (a) {\n  b();\n}"}),
    ("laguna", False, "<user>get</user>", {"calls": [["get", {}]]}),
    ("laguna", False, "<user>who</user>", {"c": "<user>who</user>"}),
    (
        "cohere",
        False,
        '<|START_ACTION|>[{"tool_name":"get","parameters":{}} {bad}]<|END_ACTION|>',
        {"c": "{bad}", "calls": [["get", {}]]},
    ),
    (
        "cohere",
        None,
        "a<|END_THINKING|><|START_ACTION|>nonsense",
        {"t": "a", "c": "<|START_ACTION|>nonsense"},
    ),
    (
        "glimmer",
        None,
        " to=user<|message|>a<|eom|><|start|>assistant to=self<|message|>b",
        {"c": "a", "t": "b"},
    ),
    (
        "harmony",
        None,
        "<|channel|>final<|message|>a<|end|>b<|start|>assistant<|channel|>final<|message|>c",
        {"c": "abc"},
    ),
    ("harmony", None, "<|channel|>analysis", {}),
    (
        "deepseek3",
        None,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        {"c": "<｜tool▁call▁begin｜>x<｜tool▁call▁end｜>"},
    ),
    ("passthrough", None, "<think>\n<tool_call> ", {"c": "<think>\n<tool_call> "}),
    (
        "generic:{",
        None,
        _GET + '\n{"name":"get","arguments":{"a":1}} and {x}',
        {"calls": [["get", {}], ["get", {"a": 1}]], "c": "and {x}"},
    ),
    (
        "generic:<tool_call>",
        None,
        '<tool_call>Now: get {"a":1}',
        {"c": "Now: get ", "calls": [["get", {"a": 1}]]},
    ),
]


@pytest.mark.parametrize(("name", "think", "reply", "meaning"), CASES)
def test_reply(name: str, think: Any, reply: str, meaning: dict[str, Any]) -> None:
    """A whole reply and the same character by character."""
    assert join(run(make_parser(name, think=think), [reply])) == meaning
    assert join(run(make_parser(name, think=think), list(reply))) == meaning


def test_indexes_run_through_a_reply() -> None:
    """Calls count from 0 whatever the pieces are, and leave their ids to the caller."""
    parser = make_parser("qwen3")
    text = '<tool_call>{"name":"get","arguments":{}}</tool_call>'
    calls = parser.feed(text * 2).tool_calls + parser.feed(text).tool_calls
    assert [(call.index, call.id) for call in calls] == [(0, ""), (1, ""), (2, "")]


def test_harmony_names() -> None:
    """Names become identifiers, each of them once; built-in ones stay."""
    names = ["a b", "a-b", "a.b", "1x", "é$", "!?", "browser.open", "python"]
    assert harmony_names(names) == ["a_b", "a_b_2", "a_b_3", "_1x", "é$", "unnamed", "browser.open", "python"]
    assert HARMONY.go_convention is not None
    renamed = HARMONY.go_convention.renamed(TOOLS)
    assert [tool.function.name for tool in renamed] == ["get_weather", "get", "my_tool_x"]


def test_registry() -> None:
    """All names are known, each parser reads plain text, and an unknown name is none."""
    assert find_parser("nope") is None
    for name in parser_names():
        info = find_parser(name)
        assert info is not None and info.name == name
        assert join(run(info.create((), None, None), ["plain"])) in ({"c": "plain"}, {"t": "plain"})
