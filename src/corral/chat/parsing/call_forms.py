"""How models write tool calls, as grammars: what makes `tool_choice` binding.

The counterpart of the parsers: each form is one that the models of a family were trained on, and that its parser
reads. A family puts its form together of the pieces in this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.chat import marks
from corral.chat.grammar.budget import Budget
from corral.chat.grammar.parts import Conjunction
from corral.chat.grammar.rules import Rules, literal
from corral.chat.parsing.call_arguments import Arguments
from corral.chat.parsing.gemma_values import GEMMA_RESPONSE
from corral.types import Tool

Write = Callable[[Rules, str, Arguments], str]

# More calls in one reply are a model that cannot stop.
_MAX_CALLS = 16


@dataclass(frozen=True, slots=True)
class CallForm:
    """`opening` and `closing` surround all calls of a reply, `separator` is between two; None: one call a reply.

    `thinking`: the tags around what the model thinks, as the model writes them. `markers`: what begins a call.
    `names`: the names that the model knows the tools by, in their order; None: their own.
    `answer_starts`: what may stand between thinking and an answer, one of them.
    """

    call: Write
    markers: tuple[str, ...]
    opening: str = ""
    closing: str = ""
    separator: str | None = ""
    thinking: tuple[str, str] | None = marks.THINK
    names: Callable[[Sequence[str]], Sequence[str]] | None = None
    answer_starts: tuple[str, ...] = ()

    def calls(
        self, rules: Rules, tools: Sequence[Tool], *, is_single: bool = False, budget: Budget | None = None
    ) -> str:
        """GBNF for one or more calls of these tools. Raises OverflowError when that would be too large."""
        budget = budget or Budget()
        names = [tool.function.name for tool in tools]
        shown = names if self.names is None else self.names(names)
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


def joined(*parts: str) -> str:
    """A sequence of expressions; empty ones are left out."""
    return " ".join(part for part in parts if part and part != '""')


def json_call(before: str, middle: str, after: str) -> Write:
    """`before`, the name, `middle`, the arguments as JSON, `after`."""

    def write(rules: Rules, name: str, arguments: Arguments) -> str:
        head = (
            before + (json.dumps(name, ensure_ascii=False)[1:-1] if before.endswith('"') else name) + middle
        )
        return joined(literal(head), f"({arguments.json()})", literal(after))

    return write


def tagged_call(
    opening: str, before: str, middle: str, after: str, closing: str, stops: tuple[str, ...]
) -> Write:
    """`opening` with the name for NAME, each argument between `before`, `middle` and `after`, `closing`."""

    def value(arguments: Arguments, conjunction: Conjunction, path: str) -> str:
        return arguments.bare_value(conjunction, path, stops)

    def around(key: str) -> tuple[str, str]:
        return joined(literal(before), key, literal(middle)), literal(after)

    def write(_rules: Rules, name: str, arguments: Arguments) -> str:
        members = arguments.members(around, value, "")
        return joined(literal(opening.replace("NAME", name)), members, literal(closing))

    return write


_xml_call = tagged_call(
    f"{marks.OPEN_CALL}\n{marks.FUNCTION}NAME>\n",
    marks.PARAMETER,
    ">\n",
    f"\n{marks.CLOSE_PARAMETER}\n",
    f"{marks.CLOSE_FUNCTION}\n{marks.CLOSE_CALL}",
    ("</parameter", "</function", "</tool_call", "<parameter", "<function"),
)


def pairs_call(line_break: str) -> Write:
    """The name and pairs of tags for the keys and values, in the tags of a call, as GLM writes them."""
    return tagged_call(
        f"{marks.OPEN_CALL}NAME{line_break}",
        marks.OPEN_KEY,
        f"{marks.CLOSE_KEY}{line_break}{marks.OPEN_VALUE}",
        f"{marks.CLOSE_VALUE}{line_break}",
        marks.CLOSE_CALL,
        ("<arg_", "</arg_", "</tool_call", "<tool_call"),
    )


def python_call(_rules: Rules, name: str, arguments: Arguments) -> str:
    """The name and `key=value` in parentheses."""
    members = arguments.members(
        lambda key: (joined(key, literal("=")), ""), Arguments.json_value, literal(", ")
    )
    return joined(literal(f"{name}("), members, literal(")"))


def gemma_call(opening: str, closing: str, delimiter: str) -> Write:
    """`call:` with the name and `{key:value}`, strings between delimiters."""
    stops = (closing, opening, GEMMA_RESPONSE)

    def value(arguments: Arguments, conjunction: Conjunction, path: str) -> str:
        return arguments.delimited_value(conjunction, path, delimiter, stops)

    def write(_rules: Rules, name: str, arguments: Arguments) -> str:
        members = arguments.members(lambda key: (joined(key, literal(":")), ""), value, literal(","))
        return joined(literal(f"{opening}call:{name}{{"), members, literal("}" + closing))

    return write


# Forms that several families write.
JSON_IN_TAGS = CallForm(
    json_call(f'{marks.OPEN_CALL}\n{{"name": "', '", "arguments": ', f"}}\n{marks.CLOSE_CALL}"),
    (marks.OPEN_CALL,),
    separator="\n",
)
XML_IN_TAGS = CallForm(_xml_call, (marks.OPEN_CALL,), separator="\n")

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
        write = json_call(f'{tag}\n{{"name": "', f'", "{key}": ', f"}}\n</{pair[1]}>")
        return CallForm(write, (tag,), separator="\n", thinking=thinking)
    write = json_call('{"name": "', f'", "{key}": ', "}")
    if tag == "{":
        return CallForm(write, (), separator=None, thinking=thinking)
    markers = () if tag == "[" else (tag,)
    opening = tag if tag.endswith("[") else f"{tag}["
    return CallForm(write, markers, opening, "]", ", ", thinking)
