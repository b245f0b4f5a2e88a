"""LFM2: calls like Python's, or JSON, between `<|tool_call_start|>` and `<|tool_call_end|>`.

A reply that begins with a list of calls of declared tools needs no tags. Ollama: model/parsers/lfm2.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.parsers.gojson import parse_json
from corral.parsers.pythonic import parse_python_calls
from corral.parsers.qwen import is_prefilled
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["create_lfm2", "create_lfm2_thinking"]

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALLS, _CLOSE_CALLS = "<|tool_call_start|>", "<|tool_call_end|>"

_CALL_TAGS = TagSet(_OPEN_CALLS)
_TEXT = Mode(Sink.CONTENT, _CALL_TAGS)
_TEXT_AFTER_TAG = Mode(Sink.CONTENT, _CALL_TAGS, trim_start=Trim.ALL)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trim_start=Trim.ALL, trims_end=True)
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALLS))
_BARE_BODY = Mode(Sink.BODY, _CALL_TAGS)


class _LFM2Parser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], *, is_thinking: bool) -> None:
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
            self._take_calls(tag)
            self._enter(_TEXT_AFTER_TAG)
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
            self._take_calls("")

    def _take_calls(self, closed: str) -> None:
        body = self._take_body()
        calls = _parse_calls(body)
        if calls is None:
            self._emit(self._opened + body + closed)
            return
        for name, arguments in calls:
            self._call(name, arguments)

    def _take_bare_calls(self) -> None:
        body = self._take_body()
        calls = _parse_calls(body)
        if calls is None or any(name not in self._names for name, _ in calls):
            self._emit(body)
            return
        for name, arguments in calls:
            self._call(name, arguments)


def _parse_calls(body: str) -> list[tuple[str, dict[str, Any]]] | None:
    try:
        return parse_python_calls(body)
    except ValueError:
        pass
    try:
        value = parse_json(body)
    except ValueError:
        return None
    found = []
    for item in value if isinstance(value, list) else [value]:
        if not (isinstance(item, dict) and isinstance(item.get("name"), str)):
            return None
        arguments = item.get("arguments", {})
        if not isinstance(arguments, dict):
            return None
        found.append((item["name"], arguments))
    return found


def create_lfm2(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _LFM2Parser(tools, is_thinking=False)


def create_lfm2_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _LFM2Parser(tools, is_thinking=bool(think) and not is_prefilled(last_message))
