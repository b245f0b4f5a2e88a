"""Calls of Glimmer: `<atem:invoke name="…">` with parameters, inside of `<atem:function_calls>`.

Ollama: model/parsers/glimmer.go, parseGlimmerATEM.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from corral.chat.parsing.coerce import coerce_parameter
from corral.types import Tool

OPEN_CALLS, CLOSE_CALLS = "<atem:function_calls>", "</atem:function_calls>"
_OPEN_INVOKE, _CLOSE_INVOKE = '<atem:invoke name="', "</atem:invoke>"
_OPEN_PARAMETER, _CLOSE_PARAMETER = '<atem:parameter name="', "</atem:parameter>"
_NAME_END = '">'


def resolve_tool(tools: Iterable[Tool], name: str) -> Tool | None:
    """The tool of that name; `f.f` is `f`, since prompts show each tool with a namespace."""
    by_name = {tool.function.name.strip(): tool for tool in tools if tool.function.name.strip()}
    if name in by_name:
        return by_name[name]
    namespace, dot, rest = name.partition(".")
    return by_name.get(rest) if dot and namespace == rest.partition(".")[0] else None


def parse_atem(text: str, tools: Iterable[Tool]) -> tuple[str, Tool | None, dict[str, Any]]:
    """Return the name as written, its tool and the arguments of the one call in `text`.

    Raises:
        ValueError: another form.
    """
    text = text.strip()
    if not (text.startswith(OPEN_CALLS) and text.endswith(CLOSE_CALLS)):
        raise ValueError("missing ATEM function_calls wrapper")
    text = text[len(OPEN_CALLS) : -len(CLOSE_CALLS)].strip()
    if not (text.startswith(_OPEN_INVOKE) and text.endswith(_CLOSE_INVOKE)):
        raise ValueError("missing ATEM invoke wrapper")
    name, found, rest = text[len(_OPEN_INVOKE) : -len(_CLOSE_INVOKE)].partition(_NAME_END)
    if not found:
        raise ValueError("malformed ATEM invoke name")
    name = name.replace("<|message|>", "")  # the model repeats the form of the header here
    tool = resolve_tool(tools, name)
    arguments: dict[str, Any] = {}
    position, rest = 0, rest.strip("\n")
    while position < len(rest):
        key, value, position = _parse_parameter(rest, position)
        arguments[key] = coerce_parameter(value, tool, key, strips_lines=False)
    return name, tool, arguments


def _parse_parameter(text: str, position: int) -> tuple[str, str, int]:
    if not text.startswith(_OPEN_PARAMETER, position):
        raise ValueError("malformed ATEM parameter")
    position += len(_OPEN_PARAMETER)
    if (end := text.find(_NAME_END, position)) < 0:
        raise ValueError("malformed ATEM parameter name")
    key = text[position:end]
    position = end + len(_NAME_END)
    if (end := text.find(_CLOSE_PARAMETER, position)) < 0:
        raise ValueError(f'unterminated ATEM parameter "{key}"')
    after = end + len(_CLOSE_PARAMETER)
    while after < len(text) and text[after] in " \t\r\n":
        after += 1
    return key, text[position:end], after
