"""Tools and drivers that the parser tests share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from corral.chat.families.known import find_parser, parser_names
from corral.chat.parsing.events import OutputParser
from corral.chat.parsing.thinking import ThinkingParser
from corral.chat.parsing.tools import ToolParser
from corral.types import Message, Think, Tool, ToolFunction, ToolParameters, ToolProperty

__all__ = ["PARSERS", "TOOLS", "TWO_TOOLS", "join", "load_cases", "make_parser", "run"]

_ANY = (ToolProperty(types=("string",)), ToolProperty(types=("number",)))
_WEATHER = {
    "city": ToolProperty(types=("string",)),
    "days": ToolProperty(types=("integer",)),
    "temp": ToolProperty(types=("number",)),
    "ok": ToolProperty(types=("boolean",)),
    "l": ToolProperty(types=("array",)),
    "o": ToolProperty(types=("object",)),
    "u": ToolProperty(types=("string", "null")),
    "a": ToolProperty(any_of=_ANY),
}


def _tool(name: str, properties: dict[str, ToolProperty], required: tuple[str, ...] = ()) -> Tool:
    return Tool(
        "function", None, ToolFunction(name, "d", ToolParameters("object", None, None, required, properties))
    )


TOOLS = (_tool("get_weather", _WEATHER, ("city",)), _tool("get", {}), _tool("my-tool.x", {}))

_FILTERS = {"from": ToolProperty(types=("string",)), "to": ToolProperty(types=("string",))}
# The tools of the recorded replies.
TWO_TOOLS = (
    _tool(
        "add_numbers",
        {"b": ToolProperty(types=("number",)), "a": ToolProperty(types=("number",))},
        ("a", "b"),
    ),
    _tool(
        "search",
        {
            "query": ToolProperty(types=("string",)),
            "filters": ToolProperty(types=("object",), properties=_FILTERS),
            "sort": ToolProperty(types=("string",)),
            "limit": ToolProperty(types=("integer", "string")),
        },
        ("query",),
    ),
)
_GENERIC = ("generic:<tool_call>", "generic:[TOOL_CALLS] [", "generic:{", "generic:[")
PARSERS = (*parser_names(), "thinking", "thinking-primed", *_GENERIC)


def make_parser(
    name: str, last: Message | None = None, think: Think = None, tools: Sequence[Tool] = TOOLS
) -> OutputParser:
    """`generic:TAG`, `thinking`, `thinking-primed`, or a built-in name."""
    if name.startswith("generic:"):
        return ToolParser(name.removeprefix("generic:"), tools)
    if name.startswith("thinking"):
        return ThinkingParser("<think>", "</think>", started=name == "thinking-primed")
    info = find_parser(name)
    assert info is not None, name
    return info.create(tools, last, think)


def run(parser: OutputParser, pieces: Iterable[str]) -> list[dict[str, Any]]:
    """Feed the pieces, then finish; what came out at each step."""
    steps: list[dict[str, Any]] = []
    for piece in [*pieces, None]:
        parsed = parser.finish() if piece is None else parser.feed(piece)
        calls = [[call.name, call.arguments] for call in parsed.tool_calls]
        named = {"c": parsed.content, "t": parsed.thinking, "calls": calls}
        steps.append({key: value for key, value in named.items() if value})
    return steps


def join(steps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All steps as one."""
    joined: dict[str, Any] = {}
    for step in steps:
        for key, value in step.items():
            joined[key] = joined[key] + value if key in joined else value
    return joined


def load_cases(name: str) -> list[dict[str, Any]]:
    """Recorded cases: pieces in, events out. `corral` holds our own events where we differ, `why` the reason."""
    lines = (Path(__file__).parent / name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]
