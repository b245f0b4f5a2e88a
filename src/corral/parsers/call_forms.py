"""How each family writes its tool calls, as grammars: what makes `tool_choice` binding.

The counterpart of the parsers: each form is one that the family's model was trained on, and that its parser reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corral.errors import SchemaError
from corral.grammar import schema_grammar
from corral.grammar.rules import Rules, literal
from corral.grammar.schema import SchemaCompiler
from corral.parsers.harmony import harmony_names
from corral.types import Tool, ToolProperty

__all__ = ["CallForm", "call_form", "generic_form", "parameters_schema"]

_JSON_TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")
# More calls in one reply are a model that cannot stop.
_MAX_CALLS = 16


@dataclass(frozen=True, slots=True)
class CallForm:
    """`opening` and `closing` surround all calls of a reply, `separator` is between two; None: one call a reply.

    `thinking`: the tags around what the model thinks, as the model writes them. `markers`: what begins a call.
    """

    call: Callable[[Rules, str, Tool], str]
    markers: tuple[str, ...]
    opening: str = ""
    closing: str = ""
    separator: str | None = ""
    thinking: tuple[str, str] | None = ("<think>", "</think>")
    renames: bool = False

    def calls(self, rules: Rules, tools: Sequence[Tool], *, is_single: bool = False) -> str:
        """GBNF for one or more calls of these tools."""
        names = [tool.function.name for tool in tools]
        shown = harmony_names(names) if self.renames else names
        options = [self.call(rules, name, tool) for name, tool in zip(shown, tools, strict=True)]
        one = rules.add("call", " | ".join(options))
        body = one
        if self.separator is not None and not is_single:
            between = f"{literal(self.separator)} " if self.separator else ""
            more = rules.add("more-calls", f"{between}{one}")
            body = f"{one} {more}{{0,{_MAX_CALLS - 1}}}"
        parts = [literal(text) if text else "" for text in (self.opening, self.closing)]
        return " ".join(part for part in (parts[0], body, parts[1]) if part)


def parameters_schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, as far as the request's types keep it."""
    parameters = tool.function.parameters
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if isinstance(parameters.defs, dict):
        schema["$defs"] = parameters.defs
    if parameters.properties is None:
        return schema
    schema["properties"] = {name: _property_schema(given) for name, given in parameters.properties.items()}
    schema["required"] = [name for name in parameters.required if name in parameters.properties]
    return schema


def _property_schema(given: ToolProperty) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if given.any_of:
        schema["anyOf"] = [_property_schema(option) for option in given.any_of]
    if types := [name for name in given.types if name in _JSON_TYPES]:
        schema["type"] = types
    if given.items is not None and (not types or "array" in types):
        schema["items"] = given.items
    if given.enum:
        schema["enum"] = list(given.enum)
    if given.properties is not None and (not types or "object" in types):
        schema["properties"] = {name: _property_schema(inner) for name, inner in given.properties.items()}
        schema["required"] = [name for name in given.required if name in given.properties]
    return schema


def _usable(schema: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    """A schema if it can be a grammar. That of a tool is advice: a part we cannot enforce is no reason to refuse."""
    try:
        schema_grammar(schema)
    except SchemaError:
        return otherwise
    return schema


def _arguments(rules: Rules, tool: Tool) -> str:
    """The arguments as a JSON object."""
    schema = _usable(parameters_schema(tool), {"type": "object"})
    return f"({SchemaCompiler(rules, schema, label='tools').root()})"


def _properties(tool: Tool) -> list[tuple[str, dict[str, Any], bool]]:
    """Name, schema and whether it is required, for forms that write arguments one by one."""
    whole = parameters_schema(tool)
    defs = {"$defs": whole["$defs"]} if "$defs" in whole else {}
    properties = whole.get("properties", {})
    return [
        (name, _usable({**defs, **schema}, {}), name in whole["required"])
        for name, schema in properties.items()
    ]


def _json_value(rules: Rules, schema: dict[str, Any]) -> str:
    return f"({SchemaCompiler(rules, schema, label='tools').root()})"


def _bare_value(rules: Rules, schema: dict[str, Any], stops: tuple[str, ...]) -> str:
    """A value between tags: text as it is, everything else as JSON."""
    if "enum" in schema:
        texts = [value if isinstance(value, str) else json.dumps(value) for value in schema["enum"]]
        return f"({' | '.join(dict.fromkeys(map(literal, texts)))})"
    types = schema.get("type", [])
    if types and "string" not in types:
        return _json_value(rules, schema)
    return rules.text_without(stops)


def _sequence(members: list[tuple[str, bool]]) -> str:
    return " ".join(member if is_required else f"({member})?" for member, is_required in members)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part and part != '""')


def _json_call(before: str, middle: str, after: str) -> Callable[[Rules, str, Tool], str]:
    """`before`, the name, `middle`, the arguments as JSON, `after`."""

    def write(rules: Rules, name: str, tool: Tool) -> str:
        head = (
            before + (json.dumps(name, ensure_ascii=False)[1:-1] if before.endswith('"') else name) + middle
        )
        return _join(literal(head), _arguments(rules, tool), literal(after))

    return write


def _qwen_xml(rules: Rules, name: str, tool: Tool) -> str:
    stops = ("</parameter", "</function", "</tool_call", "<parameter", "<function")
    members = []
    for key, schema, is_required in _properties(tool):
        value = _bare_value(rules, schema, stops)
        members.append(
            (_join(literal(f"<parameter={key}>\n"), value, literal("\n</parameter>\n")), is_required)
        )
    head, end = literal(f"<tool_call>\n<function={name}>\n"), literal("</function>\n</tool_call>")
    return _join(head, _sequence(members), end)


def _arg_pairs(line_break: str) -> Callable[[Rules, str, Tool], str]:
    stops = ("<arg_", "</arg_", "</tool_call", "<tool_call")

    def write(rules: Rules, name: str, tool: Tool) -> str:
        members = []
        for key, schema, is_required in _properties(tool):
            head = literal(f"<arg_key>{key}</arg_key>{line_break}<arg_value>")
            value = _bare_value(rules, schema, stops)
            members.append((_join(head, value, literal(f"</arg_value>{line_break}")), is_required))
        return _join(literal(f"<tool_call>{name}{line_break}"), _sequence(members), literal("</tool_call>"))

    return write


def _atem(rules: Rules, name: str, tool: Tool) -> str:
    members = []
    for key, schema, is_required in _properties(tool):
        value = _bare_value(rules, schema, ("</atem:", "<atem:", "<|"))
        head = literal(f'<atem:parameter name="{key}">')
        members.append((_join(head, value, literal("</atem:parameter>\n")), is_required))
    head = literal(f' to={name}<|message|><atem:function_calls>\n<atem:invoke name="{name}">\n')
    return _join(head, _sequence(members), literal("</atem:invoke>\n</atem:function_calls>"))


def _python(rules: Rules, name: str, tool: Tool) -> str:
    members = [
        (_join(literal(f"{key}="), _json_value(rules, schema)), is_required)
        for key, schema, is_required in _properties(tool)
    ]
    return _join(literal(f"{name}("), rules.listed("argument", members, literal(", ")), literal(")"))


def _gemma(opening: str, closing: str, delimiter: str) -> Callable[[Rules, str, Tool], str]:
    def value(rules: Rules, schema: dict[str, Any]) -> str:
        types = schema.get("type", [])
        if "enum" in schema:
            texts = [
                f"{delimiter}{option}{delimiter}" if isinstance(option, str) else json.dumps(option)
                for option in schema["enum"]
            ]
            return f"({' | '.join(dict.fromkeys(map(literal, texts)))})"
        if types in (["array"], "array"):
            item = value(rules, schema["items"] if isinstance(schema.get("items"), dict) else {})
            return _join(literal("["), rules.listed("item", [], literal(","), item), literal("]"))
        if types in (["object"], "object") and schema.get("properties"):
            return members(rules, schema["properties"], schema.get("required", ()))
        if types and not {"string", "array", "object"} & set([types] if isinstance(types, str) else types):
            return _json_value(rules, schema)
        stops = (delimiter, closing, opening, "<|tool_response>")
        return _join(literal(delimiter), rules.text_without(stops), literal(delimiter))

    def members(rules: Rules, properties: dict[str, Any], required: Sequence[str]) -> str:
        listed = [
            (_join(literal(f"{key}:"), value(rules, schema)), key in required)
            for key, schema in properties.items()
        ]
        return _join(literal("{"), rules.listed("member", listed, literal(",")), literal("}"))

    def write(rules: Rules, name: str, tool: Tool) -> str:
        properties = {key: schema for key, schema, _ in _properties(tool)}
        required = [key for key, _, is_required in _properties(tool) if is_required]
        return _join(literal(f"{opening}call:{name}"), members(rules, properties, required), literal(closing))

    return write


def _cohere(rules: Rules, name: str, tool: Tool) -> str:
    before = literal('{"tool_call_id": "'), literal(f'", "tool_name": {json.dumps(name)}, "parameters": ')
    return _join(before[0], "[0-9]{1,2}", before[1], _arguments(rules, tool), literal("}"))


_QWEN_JSON = CallForm(
    _json_call('<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>"),
    ("<tool_call>",),
    separator="\n",
)
_QWEN_XML = CallForm(_qwen_xml, ("<tool_call>",), separator="\n")
_OPEN_CALLS, _CLOSE_CALLS = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_OPEN_CALL, _CLOSE_CALL, _SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_GEMMA4 = CallForm(
    _gemma("<|tool_call>", "<tool_call|>", '<|"|>'),
    ("<|tool_call>",),
    thinking=("<|channel>thought\n", "<channel|>"),
)
_LFM2 = CallForm(_python, ("<|tool_call_start|>",), "<|tool_call_start|>[", "]<|tool_call_end|>", ", ")
_LAGUNA = CallForm(_arg_pairs("\n"), ("<tool_call>", "<user>"), separator="\n")
_NO_THINKING = None
_FORMS: dict[str, CallForm] = {
    "qwen3": _QWEN_JSON,
    "qwen3-thinking": _QWEN_JSON,
    "qwen3-vl-instruct": _QWEN_JSON,
    "qwen3-vl-thinking": _QWEN_JSON,
    "qwen3.5": _QWEN_XML,
    "ornith": _QWEN_XML,
    "qwen3-coder": _QWEN_XML,
    "nemotron-3-nano": _QWEN_XML,
    "nemotron-3.5-nano": _QWEN_XML,
    "ministral": CallForm(
        _json_call("[TOOL_CALLS]", "[ARGS]", ""), ("[TOOL_CALLS]",), thinking=("[THINK]", "[/THINK]")
    ),
    "harmony": CallForm(
        _json_call("<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", ""),
        (" to=functions.", "commentary to="),
        separator=None,
        thinking=("<|channel|>analysis<|message|>", "<|end|><|start|>assistant"),
        renames=True,
    ),
    "cogito": CallForm(
        _json_call(f"{_OPEN_CALL}function{_SEPARATOR}", "\n```json\n", f"\n```{_CLOSE_CALL}"),
        (_OPEN_CALLS,),
        _OPEN_CALLS,
        _CLOSE_CALLS,
        "\n",
    ),
    "deepseek3": CallForm(
        _json_call(_OPEN_CALL, _SEPARATOR, _CLOSE_CALL), (_OPEN_CALLS,), _OPEN_CALLS, _CLOSE_CALLS
    ),
    "olmo3": CallForm(
        _python, ("<function_calls>",), "<function_calls>", "</function_calls>", "\n", thinking=_NO_THINKING
    ),
    "functiongemma": CallForm(
        _gemma("<start_function_call>", "<end_function_call>", "<escape>"),
        ("<start_function_call>",),
        thinking=_NO_THINKING,
    ),
    "glm-4.7": CallForm(_arg_pairs(""), ("<tool_call>",)),
    "glm-ocr": CallForm(_arg_pairs(""), ("<tool_call>",)),
    "gemma4": _GEMMA4,
    "gemma4-no-thinking": _GEMMA4,
    "lfm2": _LFM2,
    "lfm2-thinking": _LFM2,
    "laguna": _LAGUNA,
    "poolside-v1": _LAGUNA,
    "cohere": CallForm(
        _cohere,
        ("<|START_ACTION|>",),
        "<|START_ACTION|>[\n    ",
        "\n]<|END_ACTION|>",
        ",\n    ",
        thinking=("<|START_THINKING|>", "<|END_THINKING|>"),
    ),
    "glimmer": CallForm(
        _atem,
        ("<atem:function_calls>",),
        separator=None,
        thinking=(" to=self<|message|>", "<|eom|><|start|>assistant"),
    ),
}


def call_form(parser_name: str) -> CallForm | None:
    """The form of a built-in parser; None for those that read no calls."""
    return _FORMS.get(parser_name)


_PAIRED_TAG = re.compile(r"<([^<>|/\s]+)>")
# The key in front of what a template writes as a call's arguments.
_ARGUMENTS_KEY = re.compile(
    r"""["'](arguments|parameters)["']\s*:[^a-zA-Z"]{0,24}(?:json )?[\w.$]*[aA]rguments\b"""
)


def generic_form(tag: str, template: str, thinking: tuple[str, str] | None) -> CallForm:
    """The form that a template shows by its tag: JSON objects behind it, in a list, or between paired tags."""
    match = _ARGUMENTS_KEY.search(template)
    key = match[1] if match else "arguments"
    if pair := _PAIRED_TAG.fullmatch(tag):
        write = _json_call(f'{tag}\n{{"name": "', f'", "{key}": ', f"}}\n</{pair[1]}>")
        return CallForm(write, (tag,), separator="\n", thinking=thinking)
    write = _json_call('{"name": "', f'", "{key}": ', "}")
    if tag == "{":
        return CallForm(write, (), separator=None, thinking=thinking)
    markers = () if tag == "[" else (tag,)
    opening = tag if tag.endswith("[") else f"{tag}["
    return CallForm(write, markers, opening, "]", ", ", thinking)
