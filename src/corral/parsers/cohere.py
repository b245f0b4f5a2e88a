"""Cohere's Command: blocks of thinking, text and actions between tags. Ollama: model/parsers/cohere.go.

An action whose JSON is broken gives the calls that can be read one by one; the others are given back as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from corral.parsers.gojson import parse_json
from corral.parsers.qwen import is_prefilled
from corral.parsers.scan import ObjectScanner
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["COHERE_TAGS", "create_cohere"]

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
    Sink.DROP, TagSet(_OPEN_TEXT, _OPEN_RESPONSE, _OPEN_ACTION, _END_OF_TURN), otherwise=_BARE_TEXT
)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_THINK), trims_end=True)
_WORD = re.compile(r"\w")
_ACTION = Mode(Sink.BODY, TagSet(_CLOSE_ACTION))


class _CohereParser(TaggedParser):
    def _on_tag(self, tag: str) -> None:
        if tag in (_OPEN_TEXT, _OPEN_RESPONSE):
            self._enter(_TEXT)
        elif tag == _OPEN_ACTION:
            self._enter(_ACTION, opened=tag)
        else:
            if tag == _CLOSE_ACTION:
                self._take_calls(tag)
            self._enter(_BETWEEN)

    def _on_unclosed(self) -> None:
        self._take_calls("")

    def _take_calls(self, closed: str) -> None:
        body = self._take_body()
        calls, strays = _parse_actions(body)
        if not calls and body.strip():
            self._emit(self._opened + body + closed)
            return
        for name, arguments in calls:
            self._call(name, arguments)
        for stray in strays:
            self._emit(stray)


def _parse_actions(body: str) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """The calls in a list of them, and the objects in it that are none."""
    calls: list[tuple[str, dict[str, Any]]] = []
    strays: list[str] = []
    for text in _objects(body):
        try:
            value = parse_json(text)
        except ValueError:
            value = None
        name = value.get("tool_name") if isinstance(value, dict) else None
        arguments = value.get("parameters") if isinstance(value, dict) else None
        if isinstance(name, str) and name and isinstance(arguments, dict | None):
            calls.append((name, arguments or {}))
        else:
            strays.append(text)
    return calls, strays


def _objects(body: str) -> Iterator[str]:
    """The objects in a text, and what is between them if there are words in it."""
    position = 0
    while True:
        scanner = ObjectScanner(position)
        end = scanner.scan(body, position, len(body))
        start = len(body) if end is None else scanner.start
        if _WORD.search(between := body[position:start]):
            yield between
        if end is None:
            return
        yield body[start:end]
        position = end


def create_cohere(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    if is_prefilled(last_message):
        return _CohereParser(_TEXT, home=_TEXT)
    return _CohereParser(_BETWEEN if think is False else _THOUGHT, home=_TEXT)
