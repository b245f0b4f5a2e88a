"""Qwen 3 in all its kinds, and Nemotron, whose replies have the same shape.

Thinking up to `</think>`, then text with calls in `<tool_call>`, as JSON or in Qwen's XML form.
Ollama: model/parsers/qwen3.go, qwen3coder.go, qwen3vl.go, qwen35.go, nemotron3nano.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from corral.errors import OutputParseError
from corral.parsers.gojson import parse_json
from corral.parsers.qwen_xml import parse_xml_calls
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = [
    "create_nemotron",
    "create_qwen3",
    "create_qwen3_coder",
    "create_qwen3_thinking",
    "create_qwen3_vl",
    "create_qwen3_vl_thinking",
    "create_qwen35",
    "is_prefilled",
    "parse_json_call",
]

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALL, _CLOSE_CALL = "<tool_call>", "</tool_call>"

_CALLS = TagSet(_OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _CALLS, trims_end=True)
_TEXT_AFTER_LINES = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.LINES, trims_end=True)
_TEXT_AFTER_SPACE = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.ALL, trims_end=True)
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALL))
# A model may forget to close its thinking before it calls.
_THOUGHT_ENDS = TagSet(_CLOSE_THINK, _OPEN_CALL)
_THOUGHT = Mode(Sink.THINKING, _THOUGHT_ENDS, trims_end=True)
_THOUGHT_AFTER_TAG = Mode(Sink.THINKING, _THOUGHT_ENDS, trim_start=Trim.ALL, trims_end=True)
# The prompt has opened the thinking; some models do it again.
_START = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=_THOUGHT)
_VL_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)

_Calls = tuple[list[tuple[str, dict[str, Any]]], str]
_ReadCalls = Callable[[str, Sequence[Tool]], _Calls]


class _QwenParser(TaggedParser):
    def __init__(self, first: Mode, after_call: Mode, read_calls: _ReadCalls, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._after_call = after_call
        self._read_calls = read_calls
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_CALL:
            self._enter(_BODY, opened=tag)
        elif tag == _CLOSE_CALL:
            self._take_calls(self._take_body())
            self._enter(self._after_call)
        elif tag == _OPEN_THINK:
            self._enter(_THOUGHT_AFTER_TAG)
        else:
            self._enter(_TEXT_AFTER_SPACE)

    def _on_unclosed(self) -> None:
        body = self._take_body()
        try:
            self._take_calls(body)
        except OutputParseError:
            self._emit(self._opened + body)

    def _take_calls(self, body: str) -> None:
        calls, strays = self._read_calls(body, self._tools)
        self._emit(strays)
        for name, arguments in calls:
            self._call(name, arguments)


def parse_json_call(body: str) -> tuple[str, dict[str, Any]]:
    """Return name and arguments of `{"name": …, "arguments": {…}}`; names in any case, the last one counts.

    Raises:
        OutputParseError: with Go's text: no JSON, or members of another kind.
    """
    try:
        value = parse_json(body)
    except ValueError as error:
        raise OutputParseError(str(error)) from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise OutputParseError(
            f"json: cannot unmarshal {_kind(value)} into Go value of type api.ToolCallFunction"
        )
    name, arguments = "", {}
    for key, member in value.items():
        match key.lower():
            case "name" if isinstance(member, str):
                name = member
            case "name" if member is not None:
                text = f"cannot unmarshal {_kind(member)} into Go struct field .name of type string"
                raise OutputParseError(f"json: {text}")
            case "arguments" if isinstance(member, dict):
                arguments = member
            case "arguments" if member is not None:
                raise OutputParseError("Value looks like object, but can't find closing '}' symbol")
    return name, arguments


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
    return "array" if isinstance(value, list) else "object"


def _read_json_call(body: str, _: Sequence[Tool]) -> _Calls:
    return [parse_json_call(body)], ""


def _read_named_json_call(body: str, _: Sequence[Tool]) -> _Calls:
    try:
        name, arguments = parse_json_call(body)
    except OutputParseError as error:
        raise OutputParseError(f"failed to parse JSON: {error}") from None
    if not name:
        raise OutputParseError("empty function name")
    return [(name, arguments)], ""


def is_prefilled(last_message: Message | None) -> bool:
    """Whether the reply goes on with content that the client has begun."""
    return last_message is not None and last_message.role == "assistant" and bool(last_message.content)


def create_qwen3(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _QwenParser(_TEXT, _TEXT_AFTER_LINES, _read_named_json_call, tools)


def create_qwen3_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    first = _TEXT if think is False else _START
    return _QwenParser(first, _TEXT_AFTER_LINES, _read_named_json_call, tools)


def create_qwen3_coder(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _QwenParser(_TEXT, _TEXT_AFTER_LINES, parse_xml_calls, tools)


def create_qwen35(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    first = _TEXT if think is False or is_prefilled(last_message) else _START
    return _QwenParser(first, _TEXT_AFTER_LINES, parse_xml_calls, tools)


create_nemotron = create_qwen35


def create_qwen3_vl(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _QwenParser(_TEXT, _TEXT_AFTER_SPACE, _read_json_call, tools)


def create_qwen3_vl_thinking(
    tools: Sequence[Tool], last_message: Message | None, think: Think
) -> TaggedParser:
    """The prompt opens the thinking even when it was switched off."""
    first = _TEXT if is_prefilled(last_message) else _VL_THOUGHT
    return _QwenParser(first, _TEXT_AFTER_SPACE, _read_json_call, tools)
