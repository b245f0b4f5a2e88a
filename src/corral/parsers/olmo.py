"""OLMo 3: calls like Python's in `<function_calls>`; its thinking kind up to `</think>`.

Ollama: model/parsers/olmo3.go, olmo3_think.go. Calls that cannot be read are given back as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.parsers.pythonic import parse_python_calls
from corral.parsers.qwen import is_prefilled
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["create_olmo3", "create_olmo3_think"]

_OPEN_CALLS, _CLOSE_CALLS = "<function_calls>", "</function_calls>"

_TEXT = Mode(Sink.CONTENT, TagSet(_OPEN_CALLS))
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALLS))
_PLAIN = Mode(Sink.CONTENT, TagSet())
_PLAIN_AFTER_THINK = Mode(Sink.CONTENT, TagSet(), trim_start=Trim.ALL)
_THOUGHT = Mode(Sink.THINKING, TagSet("</think>"), trims_end=True)


class _OlmoParser(TaggedParser):
    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_CALLS:
            self._enter(_BODY, opened=tag)
            return
        self._take_calls(self._take_body(), tag)
        self._enter(_TEXT)

    def _on_unclosed(self) -> None:
        self._take_calls(self._take_body(), "")

    def _take_calls(self, body: str, closed: str) -> None:
        try:
            calls = parse_python_calls(body)
        except ValueError:
            self._emit(self._opened + body + closed)
            return
        for name, arguments in calls:
            self._call(name, arguments)


class _OlmoThinkParser(TaggedParser):
    def _on_tag(self, tag: str) -> None:
        self._enter(_PLAIN_AFTER_THINK)


def create_olmo3(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _OlmoParser(_TEXT, home=_TEXT)


def create_olmo3_think(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt always opens the thinking."""
    return _OlmoThinkParser(_PLAIN if is_prefilled(last_message) else _THOUGHT, home=_PLAIN)
