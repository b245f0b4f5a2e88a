"""How each family writes its tool calls, as grammars: what makes `tool_choice` binding.

The counterpart of the parsers: each form is one that the family's model was trained on, and that its parser reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.chat.grammar.budget import Budget
from corral.chat.grammar.parts import Conjunction
from corral.chat.grammar.rules import Rules, literal
from corral.chat.parsing.call_arguments import Arguments
from corral.chat.parsing.harmony import harmony_names
from corral.types import Tool

_Write = Callable[[Rules, str, Arguments], str]

# More calls in one reply are a model that cannot stop.
_MAX_CALLS = 16


@dataclass(frozen=True, slots=True)
class CallForm:
    """`opening` and `closing` surround all calls of a reply, `separator` is between two; None: one call a reply.

    `thinking`: the tags around what the model thinks, as the model writes them. `markers`: what begins a call.
    """

    call: _Write
    markers: tuple[str, ...]
    opening: str = ""
    closing: str = ""
    separator: str | None = ""
    thinking: tuple[str, str] | None = ("<think>", "</think>")
    renames: bool = False

    def calls(
        self, rules: Rules, tools: Sequence[Tool], *, is_single: bool = False, budget: Budget | None = None
    ) -> str:
        """GBNF for one or more calls of these tools. Raises OverflowError when that would be too large."""
        budget = budget or Budget()
        names = [tool.function.name for tool in tools]
        shown = harmony_names(names) if self.renames else names
        options = [
            self.call(rules, name, Arguments(rules, tool, budget))
            for name, tool in zip(shown, tools, strict=True)
        ]
        one = rules.add("call", " | ".join(options))
        body = one
        if self.separator is not None and not is_single:
            between = f"{literal(self.separator)} " if self.separator else ""
            more = rules.add("more-calls", f"{between}{one}")
            body = f"{one} {more}{{0,{_MAX_CALLS - 1}}}"
        parts = [literal(text) if text else "" for text in (self.opening, self.closing)]
        return " ".join(part for part in (parts[0], body, parts[1]) if part)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part and part != '""')


def _json_call(before: str, middle: str, after: str) -> _Write:
    """`before`, the name, `middle`, the arguments as JSON, `after`."""

    def write(rules: Rules, name: str, arguments: Arguments) -> str:
        head = (
            before + (json.dumps(name, ensure_ascii=False)[1:-1] if before.endswith('"') else name) + middle
        )
        return _join(literal(head), f"({arguments.json()})", literal(after))

    return write


def _tagged(
    opening: str, before: str, middle: str, after: str, closing: str, stops: tuple[str, ...]
) -> _Write:
    """`opening` with the name for NAME, each argument between `before`, `middle` and `after`, `closing`."""

    def value(arguments: Arguments, conjunction: Conjunction, path: str) -> str:
        return arguments.bare_value(conjunction, path, stops)

    def around(key: str) -> tuple[str, str]:
        return _join(literal(before), key, literal(middle)), literal(after)

    def write(_rules: Rules, name: str, arguments: Arguments) -> str:
        members = arguments.members(around, value, "")
        return _join(literal(opening.replace("NAME", name)), members, literal(closing))

    return write


_qwen_xml = _tagged(
    "<tool_call>\n<function=NAME>\n",
    "<parameter=",
    ">\n",
    "\n</parameter>\n",
    "</function>\n</tool_call>",
    ("</parameter", "</function", "</tool_call", "<parameter", "<function"),
)
_atem = _tagged(
    ' to=NAME<|message|><atem:function_calls>\n<atem:invoke name="NAME">\n',
    '<atem:parameter name="',
    '">',
    "</atem:parameter>\n",
    "</atem:invoke>\n</atem:function_calls>",
    ("</atem:", "<atem:", "<|"),
)


def _arg_pairs(line_break: str) -> _Write:
    return _tagged(
        f"<tool_call>NAME{line_break}",
        "<arg_key>",
        f"</arg_key>{line_break}<arg_value>",
        f"</arg_value>{line_break}",
        "</tool_call>",
        ("<arg_", "</arg_", "</tool_call", "<tool_call"),
    )


def _python(_rules: Rules, name: str, arguments: Arguments) -> str:
    members = arguments.members(
        lambda key: (_join(key, literal("=")), ""), Arguments.json_value, literal(", ")
    )
    return _join(literal(f"{name}("), members, literal(")"))


def _gemma(opening: str, closing: str, delimiter: str) -> _Write:
    stops = (closing, opening, "<|tool_response>")

    def value(arguments: Arguments, conjunction: Conjunction, path: str) -> str:
        return arguments.delimited_value(conjunction, path, delimiter, stops)

    def write(_rules: Rules, name: str, arguments: Arguments) -> str:
        members = arguments.members(lambda key: (_join(key, literal(":")), ""), value, literal(","))
        return _join(literal(f"{opening}call:{name}{{"), members, literal("}" + closing))

    return write


def _cohere(_rules: Rules, name: str, arguments: Arguments) -> str:
    before = literal('{"tool_call_id": "'), literal(f'", "tool_name": {json.dumps(name)}, "parameters": ')
    return _join(before[0], "[0-9]{1,2}", before[1], f"({arguments.json()})", literal("}"))


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
    "tev1": _QWEN_XML,
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


def arguments_key(template: str) -> str:
    """The name under which a template writes the arguments of a call."""
    match = _ARGUMENTS_KEY.search(template)
    return match[1] if match else "arguments"


def generic_form(tag: str, key: str, thinking: tuple[str, str] | None) -> CallForm:
    """The form that a template shows by its tag: JSON objects after it, in a list, or between paired tags.

    `key`: the name of the arguments.
    """
    if pair := _PAIRED_TAG.fullmatch(tag):
        write = _json_call(f'{tag}\n{{"name": "', f'", "{key}": ', f"}}\n</{pair[1]}>")
        return CallForm(write, (tag,), separator="\n", thinking=thinking)
    write = _json_call('{"name": "', f'", "{key}": ', "}")
    if tag == "{":
        return CallForm(write, (), separator=None, thinking=thinking)
    markers = () if tag == "[" else (tag,)
    opening = tag if tag.endswith("[") else f"{tag}["
    return CallForm(write, markers, opening, "]", ", ", thinking)
