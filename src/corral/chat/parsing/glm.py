"""GLM 4.7 and GLM-OCR: thinking up to `</think>`, calls with keys and values in tags.

Ollama: model/parsers/glm46.go, glm47.go, glmocr.go. A call that is still open at the end of the reply counts if it
is complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import is_in_value, read_calls, read_pairs, without_tags
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_TAGS = _OPEN_CALL, _CLOSE_CALL = "<tool_call>", "</tool_call>"

_CALLS = TagSet(_OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _CALLS, trims_end=True)
_TEXT_AFTER_THINK = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.ALL, trims_end=True)
_TEXT_AFTER_CALL = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.LINES, trims_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)
_THOUGHT_AFTER_TAG = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trim_start=Trim.ALL, trims_end=True)
_START = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=_TEXT)
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALL), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALL = Mode(Sink.DROP, TagSet(_CLOSE_CALL), otherwise=_TEXT_AFTER_CALL)


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
                is_call = self._mode is not _BODY or self._end_body(tag)
                self._enter(_AFTER_CALL if is_call else _TEXT)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(
            read_pairs(without_tags(body, _TAGS), self._tools, is_complete=is_complete)
            or read_calls(
                body,
                self._tools,
                is_complete=is_complete,
                is_exact=is_exact,
                tags=_TAGS,
            )
        )


def create_glm47(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GLMParser(_START if think is False else _THOUGHT, tools)


def create_glm_ocr(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GLMParser(_START, tools)
