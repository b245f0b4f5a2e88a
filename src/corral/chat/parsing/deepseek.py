"""DeepSeek 3 and Cogito: calls between `<｜tool▁calls▁begin｜>` and `<｜tool▁calls▁end｜>`.

Ollama: model/parsers/deepseek3.go, cogito.go. A call that cannot be read is given back as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from corral.chat.parsing.calls import is_in_value, read_arguments, read_calls
from corral.chat.parsing.qwen import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_CLOSE_THINK = "</think>"
_OPEN_CALLS, _CLOSE_CALLS = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_OPEN_CALL, _CLOSE_CALL = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_SEPARATOR = "<｜tool▁sep｜>"
_OPEN_OUTPUT, _CLOSE_OUTPUT = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"
_OPEN_OUTPUTS, _CLOSE_OUTPUTS = "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"
OUTPUTS_MARKERS = (_OPEN_OUTPUTS, _CLOSE_OUTPUTS)
# What the engine has to show besides `</think>`.
CALL_MARKERS = (_OPEN_CALLS, _CLOSE_CALLS, _OPEN_CALL, _CLOSE_CALL, _SEPARATOR, _OPEN_OUTPUT, _CLOSE_OUTPUT)

# Outputs of tools are not for the model to write; if it does, their text is text.
_OUTPUT_TAGS = (_OPEN_OUTPUTS, _CLOSE_OUTPUTS, _OPEN_OUTPUT, _CLOSE_OUTPUT)
_TEXT_TAGS = TagSet(_OPEN_CALLS, *_OUTPUT_TAGS)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trims_end=True, keeps_end=True, spaced_tags=_OUTPUT_TAGS)
_TEXT_AFTER_TAG = Mode(
    Sink.CONTENT, _TEXT_TAGS, Trim.ALL, trims_end=True, keeps_end=True, spaced_tags=_OUTPUT_TAGS
)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)
_BETWEEN_CALLS = Mode(Sink.CONTENT, TagSet(_OPEN_CALL, _CLOSE_CALLS), Trim.ALL, trims_end=True)
_CALL = Mode(Sink.BODY, TagSet(_CLOSE_CALL, _CLOSE_CALLS), is_inside=is_in_value)
_FENCED = re.compile(r"(?P<name>[^\n]*)\n```(?:json)?\n(?P<arguments>.*?)\n?```\s*\Z", re.DOTALL)


class _DeepSeekParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools
        self._names = {tool.function.name for tool in tools}

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_CALLS:
            self._enter(_BETWEEN_CALLS)
        elif tag == _OPEN_CALL:
            self._enter(_CALL, opened=tag)
        elif tag == _CLOSE_CALL:
            self._end_body(tag)
            self._enter(_BETWEEN_CALLS)
        elif tag == _CLOSE_CALLS and self._mode is _CALL:
            self._end_body("")
            self._enter(_TEXT_AFTER_TAG)
        elif tag in _OUTPUT_TAGS:
            self._enter(_TEXT)
        else:
            self._enter(_TEXT_AFTER_TAG)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        name, separator, rest = body.partition(_SEPARATOR)
        if separator:
            if match := _FENCED.match(rest):
                name, rest = match["name"], match["arguments"]
            name, arguments = name.strip(), read_arguments(rest, is_complete=is_complete)
            if name and arguments is not None:
                self._call(name, arguments)
                return True
            body = f"{name}\n{rest}" if name in self._names else rest
        found = read_calls(
            body, self._tools, is_complete=is_complete, is_exact=is_exact, tags=(_OPEN_CALL, _CLOSE_CALL)
        )
        return self._take(found)


def create_deepseek3(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _DeepSeekParser(_THOUGHT if think and not is_prefilled(last_message) else _TEXT, tools)


def create_cogito(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The model does not think when it has tools."""
    return create_deepseek3(tools, last_message, think and not tools)
