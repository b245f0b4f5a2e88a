"""OLMo 3: calls like Python's in `<function_calls>`; its thinking kind up to `</think>`.

Ollama: model/parsers/olmo3.go, olmo3_think.go. Calls that cannot be read are given back as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import is_in_value, read_listed_calls
from corral.chat.parsing.qwen import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_OPEN_CALLS, _CLOSE_CALLS = "<function_calls>", "</function_calls>"

_TEXT = Mode(Sink.CONTENT, TagSet(_OPEN_CALLS))
_BODY = Mode(Sink.BODY, TagSet(_CLOSE_CALLS), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALLS = Mode(Sink.DROP, TagSet(_CLOSE_CALLS), otherwise=_TEXT)
_PLAIN = Mode(Sink.CONTENT, TagSet())
_PLAIN_AFTER_THINK = Mode(Sink.CONTENT, TagSet(), trim_start=Trim.ALL)
_THOUGHT = Mode(Sink.THINKING, TagSet("</think>"), trims_end=True)


class _OlmoParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__(_TEXT, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_CALLS:
            self._enter(_BODY, opened=tag)
            return
        if self._mode is _BODY:
            self._end_body(tag)
        self._enter(_AFTER_CALLS)

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


class _OlmoThinkParser(TaggedParser):
    def _on_tag(self, tag: str) -> None:
        self._enter(_PLAIN_AFTER_THINK)


def create_olmo3(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _OlmoParser(tools)


def create_olmo3_think(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt always opens the thinking."""
    return _OlmoThinkParser(_PLAIN if is_prefilled(last_message) else _THOUGHT, home=_PLAIN)
