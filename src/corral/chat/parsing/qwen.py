"""Qwen 3 in all its kinds, and Nemotron, whose replies have the same shape.

Thinking up to `</think>`, then text with calls in `<tool_call>`, as JSON or in Qwen's XML form; both kinds of models
slip into the other form.
Ollama: model/parsers/qwen3.go, qwen3coder.go, qwen3vl.go, qwen35.go, nemotron3nano.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.parsing.calls import is_in_value, read_calls
from corral.chat.parsing.events import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

# What the engine has to show.
TOKENS = marks.THINK + marks.CALL

_CALLS = TagSet(marks.OPEN_CALL)
TEXT = Mode(Sink.CONTENT, _CALLS, trims_end=True)
_TEXT_AFTER_LINES = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.LINES, trims_end=True)
_TEXT_AFTER_SPACE = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.ALL, trims_end=True)
_BODY = Mode(Sink.BODY, TagSet(marks.CLOSE_CALL), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
AFTER_CALL = Mode(Sink.DROP, TagSet(marks.CLOSE_CALL), otherwise=_TEXT_AFTER_LINES)
AFTER_VL_CALL = Mode(Sink.DROP, TagSet(marks.CLOSE_CALL), otherwise=_TEXT_AFTER_SPACE)
# A model may forget to close its thinking before it calls.
_THOUGHT_ENDS = TagSet(marks.CLOSE_THINK, marks.OPEN_CALL)
_THOUGHT = Mode(Sink.THINKING, _THOUGHT_ENDS, trims_end=True)
_THOUGHT_AFTER_TAG = Mode(Sink.THINKING, _THOUGHT_ENDS, trim_start=Trim.ALL, trims_end=True)
# The prompt has opened the thinking; some models do it again.
START = Mode(Sink.DROP, TagSet(marks.OPEN_THINK), otherwise=_THOUGHT)
VL_THOUGHT = Mode(Sink.THINKING, TagSet(marks.CLOSE_THINK), trims_end=True)


class QwenParser(TaggedParser):
    def __init__(self, first: Mode, after_call: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=TEXT)
        self._after_call = after_call
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == marks.OPEN_CALL:
            self._enter(_BODY, opened=tag)
        elif tag == marks.CLOSE_CALL:
            is_call = self._mode is not _BODY or self._end_body(tag)
            self._enter(self._after_call if is_call else TEXT)
        elif tag == marks.OPEN_THINK:
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
                tags=marks.CALL,
            )
        )


def create_plain(tools: Sequence[Tool], last_message: Message | None, think: Think) -> QwenParser:
    """For models that do not think."""
    return QwenParser(TEXT, AFTER_CALL, tools)


def create_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> QwenParser:
    """For models whose prompt opens the thinking, unless it is off or the answer has begun."""
    first = TEXT if think is False or is_prefilled(last_message) else START
    return QwenParser(first, AFTER_CALL, tools)
