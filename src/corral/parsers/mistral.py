"""Ministral: `[TOOL_CALLS]NAME[ARGS]{…}`, and thinking in `[THINK]`. Ollama: model/parsers/ministral.go."""

from __future__ import annotations

from collections.abc import Sequence

from corral.errors import OutputParseError
from corral.parsers.arguments import parse_arguments
from corral.parsers.coerce import find_tool
from corral.parsers.scan import ObjectScanner
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["create_ministral"]

_CALL, _ARGS = "[TOOL_CALLS]", "[ARGS]"
_OPEN_THINK, _CLOSE_THINK = "[THINK]", "[/THINK]"

_TEXT_TAGS = TagSet(_CALL, _OPEN_THINK)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trims_end=True)
_TEXT_AFTER_THINK = Mode(Sink.CONTENT, _TEXT_TAGS, trim_start=Trim.ALL, trims_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK))
_NAME = Mode(Sink.BODY, TagSet(_ARGS))
_ARGUMENTS = Mode(Sink.BODY, TagSet())


class _MinistralParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__(_TEXT, home=_TEXT)
        self._tools = tools
        self._name = ""

    def _on_tag(self, tag: str) -> None:
        match tag:
            case "[TOOL_CALLS]":
                self._enter(_NAME, opened=tag)
            case "[ARGS]":
                self._name = self._take_body()
                self._enter(_ARGUMENTS, _CALL + self._name + _ARGS, ObjectScanner())
            case "[THINK]":
                self._enter(_THOUGHT)
            case "[/THINK]":
                self._enter(_TEXT_AFTER_THINK)
            case _:
                self._take_call(self._take_body())
                self._enter(_TEXT)

    def _take_call(self, arguments: str) -> None:
        name = self._name.strip()
        if find_tool(self._tools, name) is None:
            raise OutputParseError(f"tool '{name}' not found")
        try:
            self._call(name, parse_arguments(arguments))
        except ValueError as error:
            raise OutputParseError(str(error)) from None


def create_ministral(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _MinistralParser(tools)
