"""GLM 4.7 and GLM-OCR: thinking up to `</think>`, calls with keys and values in tags.

Ollama: model/parsers/glm46.go, glm47.go, glmocr.go. A call that is still open at the end of the reply counts if it
is complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.errors import OutputParseError
from corral.parsers.coerce import find_tool
from corral.parsers.glm_call import coerce_pairs, parse_glm_call
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["create_glm47", "create_glm_ocr"]

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALL, _CLOSE_CALL = "<tool_call>", "</tool_call>"

_CALLS = TagSet(_OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _CALLS, trims_end=True)
_TEXT_AFTER_THINK = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.ALL, trims_end=True)
_TEXT_AFTER_CALL = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.LINES, trims_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)
_THOUGHT_AFTER_TAG = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trim_start=Trim.ALL, trims_end=True)
_START = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=_TEXT)
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALL))


class _GLMParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        match tag:
            case "<think>":
                self._enter(_THOUGHT_AFTER_TAG)
            case "</think>":
                self._enter(_TEXT_AFTER_THINK)
            case "<tool_call>":
                self._enter(_BODY, opened=tag)
            case _:
                self._take_call()
                self._enter(_TEXT_AFTER_CALL)

    def _take_call(self) -> None:
        try:
            name, pairs, strays = parse_glm_call(self._take_body())
        except ValueError as error:
            raise OutputParseError(str(error)) from None
        self._emit(strays)
        self._call(name, coerce_pairs(pairs, name, self._tools))

    def _on_unclosed(self) -> None:
        try:
            name, pairs, strays = parse_glm_call(self._take_body())
        except ValueError as error:
            raise OutputParseError(f"incomplete GLM tool call: {error}") from None
        tool = find_tool(self._tools, name)
        if tool is None:
            raise OutputParseError(f'incomplete GLM tool call: tool "{name}" is not declared')
        arguments = coerce_pairs(pairs, name, self._tools)
        for key in tool.function.parameters.required:
            if key not in arguments:
                raise OutputParseError(
                    f'incomplete GLM tool call: required argument "{key}" is missing for tool "{name}"'
                )
        self._emit(strays)
        self._call(name, arguments)


def create_glm47(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GLMParser(_START if think is False else _THOUGHT, tools)


def create_glm_ocr(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GLMParser(_START, tools)
