"""Thinking between two tags at the start of a reply. Ollama: thinking/parser.go.

A reply that does not begin with the opening tag is content from its first character on, white space included.
"""

from __future__ import annotations

from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim


class ThinkingParser(TaggedParser):
    """Only one block of thinking counts; later tags are text.

    `started`: the prompt has ended with the opening tag already.
    """

    def __init__(self, open_tag: str, close_tag: str, started: bool = False) -> None:
        self._answer = Mode(Sink.CONTENT, TagSet(), trim_start=Trim.ALL)
        self._thought = Mode(Sink.THINKING, TagSet(close_tag), trim_start=Trim.ALL)
        plain = Mode(Sink.CONTENT, TagSet())
        start = Mode(Sink.DROP, TagSet(open_tag), otherwise=plain)
        super().__init__(self._thought if started else start, plain)

    def _on_tag(self, tag: str) -> None:
        self._enter(self._answer if self._mode is self._thought else self._thought)
