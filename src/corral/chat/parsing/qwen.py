"""Qwen 3 in all its kinds, and Nemotron, whose replies have the same shape.

Thinking up to `</think>`, then text with calls in `<tool_call>`, as JSON or in Qwen's XML form; both kinds of models
slip into the other form.
Ollama: model/parsers/qwen3.go, qwen3coder.go, qwen3vl.go, qwen35.go, nemotron3nano.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import is_in_value, read_calls
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALL, _CLOSE_CALL = "<tool_call>", "</tool_call>"

_CALLS = TagSet(_OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _CALLS, trims_end=True)
_TEXT_AFTER_LINES = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.LINES, trims_end=True)
_TEXT_AFTER_SPACE = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.ALL, trims_end=True)
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALL), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALL = Mode(Sink.DROP, TagSet(_CLOSE_CALL), otherwise=_TEXT_AFTER_LINES)
_AFTER_VL_CALL = Mode(Sink.DROP, TagSet(_CLOSE_CALL), otherwise=_TEXT_AFTER_SPACE)
# A model may forget to close its thinking before it calls.
_THOUGHT_ENDS = TagSet(_CLOSE_THINK, _OPEN_CALL)
_THOUGHT = Mode(Sink.THINKING, _THOUGHT_ENDS, trims_end=True)
_THOUGHT_AFTER_TAG = Mode(Sink.THINKING, _THOUGHT_ENDS, trim_start=Trim.ALL, trims_end=True)
# The prompt has opened the thinking; some models do it again.
_START = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=_THOUGHT)
_VL_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)


class _QwenParser(TaggedParser):
    def __init__(self, first: Mode, after_call: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._after_call = after_call
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_CALL:
            self._enter(_BODY, opened=tag)
        elif tag == _CLOSE_CALL:
            is_call = self._mode is not _BODY or self._end_body(tag)
            self._enter(self._after_call if is_call else _TEXT)
        elif tag == _OPEN_THINK:
            self._enter(_THOUGHT_AFTER_TAG)
        else:
            self._enter(_TEXT_AFTER_SPACE)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(
            read_calls(
                body,
                self._tools,
                is_complete=is_complete,
                is_exact=is_exact,
                tags=(_OPEN_CALL, _CLOSE_CALL),
            )
        )


def is_prefilled(last_message: Message | None) -> bool:
    """Whether the reply goes on with content that the client has begun."""
    return last_message is not None and last_message.role == "assistant" and bool(last_message.content)


def create_qwen3(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _QwenParser(_TEXT, _AFTER_CALL, tools)


def create_qwen3_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    first = _TEXT if think is False else _START
    return _QwenParser(first, _AFTER_CALL, tools)


def create_qwen3_coder(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _QwenParser(_TEXT, _AFTER_CALL, tools)


def create_qwen35(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    first = _TEXT if think is False or is_prefilled(last_message) else _START
    return _QwenParser(first, _AFTER_CALL, tools)


create_nemotron = create_qwen35


def create_qwen3_vl(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _QwenParser(_TEXT, _AFTER_VL_CALL, tools)


def create_qwen3_vl_thinking(
    tools: Sequence[Tool], last_message: Message | None, think: Think
) -> TaggedParser:
    """The prompt opens the thinking even when it was switched off."""
    first = _TEXT if is_prefilled(last_message) else _VL_THOUGHT
    return _QwenParser(first, _AFTER_VL_CALL, tools)
