"""Cohere's Command: blocks of thinking, text and actions between tags. Ollama: model/parsers/cohere.go.

An action whose JSON is broken gives the calls that can be read one by one; the others are given back as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import is_in_value, read_calls
from corral.chat.parsing.qwen import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_CLOSE_THINK = "<|END_THINKING|>"
_OPEN_TEXT, _CLOSE_TEXT = "<|START_TEXT|>", "<|END_TEXT|>"
_OPEN_RESPONSE, _CLOSE_RESPONSE = "<|START_RESPONSE|>", "<|END_RESPONSE|>"  # the same, in older templates
_OPEN_ACTION, _CLOSE_ACTION = "<|START_ACTION|>", "<|END_ACTION|>"
_END_OF_TURN = "<|END_OF_TURN_TOKEN|>"
COHERE_TAGS = (
    "<|START_THINKING|>",
    _CLOSE_THINK,
    _OPEN_TEXT,
    _CLOSE_TEXT,
    _OPEN_ACTION,
    _CLOSE_ACTION,
    _END_OF_TURN,
    _OPEN_RESPONSE,
    _CLOSE_RESPONSE,
)

_TEXT_TAGS = TagSet(_CLOSE_TEXT, _CLOSE_RESPONSE, _END_OF_TURN, _OPEN_ACTION)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS)
_BARE_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trim_start=Trim.ALL)
_BETWEEN = Mode(
    Sink.DROP,
    TagSet(_OPEN_TEXT, _OPEN_RESPONSE, _OPEN_ACTION, _CLOSE_ACTION, _END_OF_TURN),
    otherwise=_BARE_TEXT,
)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)
_ACTION = Mode(Sink.BODY, TagSet(_CLOSE_ACTION), is_inside=is_in_value, may_be_talk=True)


class _CohereParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag in (_OPEN_TEXT, _OPEN_RESPONSE):
            self._enter(_TEXT)
        elif tag == _OPEN_ACTION:
            self._enter(_ACTION, opened=tag)
        else:
            is_text = self._mode is _ACTION and not self._end_body(tag)
            self._enter(_TEXT if is_text else _BETWEEN)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        found = read_calls(
            body, self._tools, is_complete=is_complete, is_exact=is_exact, tags=(_OPEN_ACTION,)
        )
        return self._take(found) or not body.strip()


def create_cohere(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    if is_prefilled(last_message):
        return _CohereParser(_TEXT, tools)
    return _CohereParser(_BETWEEN if think is False else _THOUGHT, tools)
