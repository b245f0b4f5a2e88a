"""The grammars of tool calls: whatever they allow, the family's own parser reads as calls and nothing else."""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pytest

from corral.chat.families.family import Parser
from corral.chat.families.known import find_parser, parser_names
from corral.chat.grammar.rules import Rules
from corral.chat.parsing.call_arguments import parameters_schema
from corral.chat.parsing.call_forms import CallForm, arguments_key, generic_form
from corral.chat.parsing.events import OutputParser, Parsed
from corral.chat.parsing.tools import ToolParser
from corral.types import Message, Tool, ToolFunction, ToolParameters, ToolProperty
from tests.chat.grammar.gbnf import Grammar

PROPERTIES = {
    "city": ToolProperty(types=("string",)),
    "days": ToolProperty(types=("integer",)),
    "unit": ToolProperty(types=("string",), enum=("celsius", "fahrenheit")),
    "exact": ToolProperty(types=("boolean",)),
    "tags": ToolProperty(types=("array",), items={"type": "string", "enum": ["a", "b"]}),
    "place": ToolProperty(
        types=("object",),
        properties={"lat": ToolProperty(types=("number",)), "name": ToolProperty(types=("string",))},
        required=("lat",),
    ),
}
WEATHER = Tool(
    "function",
    None,
    ToolFunction("get_weather", "", ToolParameters("object", None, None, ("city", "unit"), PROPERTIES)),
)
CLOCK = Tool("function", None, ToolFunction("clock", "", ToolParameters("object", properties={})))
TOOLS = (WEATHER, CLOCK)
READS_NO_CALLS = {"passthrough", "clef", "olmo3-think"}
NAMES = [name for name in parser_names() if name not in READS_NO_CALLS]
GENERIC = (
    "<tool_call>",
    "[TOOL_CALLS] [",
    "[TOOL_CALLS]",
    "{",
    "[",
    "<|tool_call|>",
    "functools[",
    "<|python_tag|>",
)


def form_of(name: str) -> tuple[CallForm, Parser]:
    found = find_parser(name)
    assert found is not None and found.calls is not None
    return found.calls, found


def read(parser: OutputParser, text: str) -> Parsed:
    fed = [parser.feed(char) for char in text]
    fed.append(parser.finish())
    return Parsed(
        "".join(p.content for p in fed),
        "".join(p.thinking for p in fed),
        [call for p in fed for call in p.tool_calls],
    )


def begun(name: str) -> Message | None:
    """This family thinks first even when told not to, unless its answer has begun."""
    return Message("assistant", "x") if name == "qwen3-vl-thinking" else None


def check(form: CallForm, new_parser: Any, *, is_single: bool, tools: tuple[Tool, ...]) -> int:
    """Read many texts of a form; returns the most calls that one had."""
    rules = Rules()
    grammar = Grammar(rules.text(form.calls(rules, tools, is_single=is_single)))
    validators = {
        tool.function.name: jsonschema.Draft202012Validator(parameters_schema(tool)) for tool in tools
    }
    rng = random.Random(7)
    most = 0
    for _ in range(40):
        text = grammar.text(rng)
        parsed = read(new_parser(), text)
        assert (parsed.content.strip(), parsed.thinking) == ("", ""), text
        assert parsed.tool_calls, text
        for call in parsed.tool_calls:
            validators[call.name].validate(comparable(call.arguments))
        most = max(most, len(parsed.tool_calls))
    return most


def comparable(arguments: dict[str, Any]) -> dict[str, Any]:
    """Text that happens to be `null` is null to the families that write values bare, as the reference has it."""
    return {key: "null" if key == "city" and value is None else value for key, value in arguments.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_family_reads_what_its_form_allows(name: str) -> None:
    """One call of a named tool, and several calls of any."""
    form, info = form_of(name)
    assert check(form, lambda: info.create(TOOLS, begun(name), False), is_single=True, tools=(WEATHER,)) == 1
    most = check(form, lambda: info.create(TOOLS, begun(name), False), is_single=False, tools=TOOLS)
    assert most > 1 or form.separator is None


@pytest.mark.slow
@pytest.mark.parametrize("tag", GENERIC)
@pytest.mark.parametrize("is_strict", [False, True])
def test_the_generic_parser_reads_what_a_tag_allows(tag: str, is_strict: bool) -> None:
    """Any tag that a template may show."""
    template = '{"name": "x", "parameters": {{ .Function.Arguments }}}'
    form = generic_form(tag, arguments_key(template), None)
    check(form, lambda: ToolParser(tag, TOOLS, is_strict=is_strict), is_single=True, tools=(WEATHER,))
    check(form, lambda: ToolParser(tag, TOOLS, is_strict=is_strict), is_single=False, tools=TOOLS)


def test_every_parser_of_calls_has_a_form() -> None:
    """No family is left without one."""
    for name in parser_names():
        info = find_parser(name)
        assert info is not None
        assert info.has_tools == (name not in READS_NO_CALLS), name
    assert set(parser_names()) >= READS_NO_CALLS


def test_a_tool_with_an_odd_schema_still_has_a_form() -> None:
    """What cannot be a grammar is left open: unknown types, references, keywords beyond us."""
    odd = {
        "a": ToolProperty(types=("str",)),
        "b": ToolProperty(types=("array",), items={"$ref": "#/$defs/nowhere"}),
        "c": ToolProperty(types=("array",), items={"not": {"type": "null"}}),
        "d": ToolProperty(any_of=(ToolProperty(types=("integer",)), ToolProperty(types=("null",)))),
    }
    tool = Tool("function", None, ToolFunction("odd-tool.x", "", ToolParameters("object", properties=odd)))
    for name in NAMES:
        form, info = form_of(name)
        rules = Rules()
        grammar = Grammar(rules.text(form.calls(rules, (tool,), is_single=True)))
        rng = random.Random(3)
        for _ in range(20):
            text = grammar.text(rng)
            parsed = read(info.create((tool,), begun(name), False), text)
            assert [call.name for call in parsed.tool_calls] == ["odd-tool.x"], (name, text)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


HOSTILE: dict[str, dict[str, Any]] = {
    "long text": {"type": "string", "maxLength": 100_000},
    "a branch that no text fits": {
        "anyOf": [{"type": "string", "pattern": "^a$", "minLength": 5}, {"type": "integer"}]
    },
    "no text fits": {"type": "string", "pattern": "^a$", "minLength": 5},
    "patterns of names that multiply": {
        "type": "object",
        "patternProperties": {"a.{10}$": {"type": "integer"}, "b.{10}$": {"type": "string"}},
    },
    "a bound beyond numbers": {"enum": [1, 2], "minimum": 10**500},
    "many items": {"type": "array", "items": {"type": "integer"}, "minItems": 9, "maxItems": 2500},
    "too deep": nested(85),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_tool_whose_schema_cannot_be_held_has_a_form(name: str, hostile: str) -> None:
    """Nothing but a used up budget may end the making of a grammar, and the engine can read what comes out."""
    properties = {"a": ToolProperty(others=HOSTILE[hostile])}
    tool = Tool("function", None, ToolFunction("f", "", ToolParameters("object", properties=properties)))
    assert parameters_schema(tool)["properties"] == {"a": HOSTILE[hostile]}
    form, _ = form_of(name)
    rules = Rules()
    source = rules.text(form.calls(rules, (tool,), is_single=True))
    assert Grammar(source).text(random.Random(5))
