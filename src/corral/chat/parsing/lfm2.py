"""LFM2: calls like Python's, or JSON, between `<|tool_call_start|>` and `<|tool_call_end|>`.

A reply that begins with a list of calls of declared tools needs no tags. Ollama: model/parsers/lfm2.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import is_in_value, read_listed_calls
from corral.chat.parsing.qwen import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALLS, _CLOSE_CALLS = "<|tool_call_start|>", "<|tool_call_end|>"

_CALL_TAGS = TagSet(_OPEN_CALLS)
_TEXT = Mode(Sink.CONTENT, _CALL_TAGS)
_TEXT_AFTER_TAG = Mode(Sink.CONTENT, _CALL_TAGS, trim_start=Trim.ALL)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trim_start=Trim.ALL, trims_end=True)
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALLS), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALLS = Mode(Sink.DROP, TagSet(_CLOSE_CALLS), otherwise=_TEXT_AFTER_TAG)
_BARE_BODY = Mode(Sink.BODY, _CALL_TAGS)


class _LFM2Parser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], *, is_thinking: bool) -> None:
        self._tools = tools
        self._names = {tool.function.name for tool in tools if tool.function.name}
        self._bare_calls = tuple(f"[{name}(" for name in self._names)
        first, self._answer = _TEXT, _TEXT_AFTER_TAG
        if self._bare_calls:
            tags = TagSet(*self._bare_calls, _OPEN_CALLS)
            first = Mode(Sink.DROP, tags, otherwise=_TEXT)
            self._answer = Mode(Sink.DROP, tags, otherwise=_TEXT_AFTER_TAG)
        start = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=self._answer)
        super().__init__(start if is_thinking else first, home=_TEXT)

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_THINK:
            self._enter(_THOUGHT)
        elif tag == _CLOSE_THINK:
            self._enter(self._answer)
        elif tag == _CLOSE_CALLS:
            is_call = self._mode is not _BODY or self._end_body(tag)
            self._enter(_AFTER_CALLS if is_call else _TEXT)
        elif tag in self._bare_calls:
            self._enter(_BARE_BODY)
            self._append_body(tag)
        else:
            if self._mode is _BARE_BODY:
                self._take_bare_calls()
            self._enter(_BODY, opened=tag)

    def _on_unclosed(self) -> None:
        if self._mode is _BARE_BODY:
            self._take_bare_calls()
        else:
            self._end_body("")

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(
            read_listed_calls(
                body,
                self._tools,
                is_complete=is_complete,
                is_exact=is_exact,
                tags=(_OPEN_CALLS, _CLOSE_CALLS),
            )
        )

    def _take_bare_calls(self) -> None:
        """Calls without tags count if they are nothing but calls of declared tools."""
        body = self._take_body()
        found = read_listed_calls(body, self._tools, is_complete=False, is_exact=True)
        if found is None or any(name not in self._names for name, _ in found.calls):
            self._emit(body)
        else:
            self._take(found)


def create_lfm2(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _LFM2Parser(tools, is_thinking=False)


def create_lfm2_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _LFM2Parser(tools, is_thinking=bool(think) and not is_prefilled(last_message))
