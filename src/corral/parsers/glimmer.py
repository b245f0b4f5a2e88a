"""Glimmer: messages with a recipient, ` to=NAME<|message|>TEXT<|eom|>`. Ollama: model/parsers/glimmer.go.

`self` is the model's thinking, a tool's name a call in ATEM form, anyone else the user. Text where a header should
be is content.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.errors import OutputParseError
from corral.parsers.atem import CLOSE_CALLS, OPEN_CALLS, parse_atem, resolve_tool
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["GLIMMER_TAGS", "create_glimmer"]

_START, _MESSAGE, _END_MESSAGE, _END_TURN = "<|start|>", "<|message|>", "<|eom|>", "<|eot|>"
GLIMMER_TAGS = (_START, _MESSAGE, _END_MESSAGE, _END_TURN)
_NEXT = _START + "assistant"
_ENDS = TagSet(_END_MESSAGE, _END_TURN, _NEXT)

_TEXT = Mode(Sink.CONTENT, _ENDS)
_BARE_TEXT = Mode(Sink.CONTENT, TagSet(_END_MESSAGE, _END_TURN, _NEXT, _MESSAGE))
_HEADER = Mode(Sink.DROP, TagSet(_NEXT, _MESSAGE, "to=", _END_MESSAGE, _END_TURN), otherwise=_BARE_TEXT)
_RECIPIENT = Mode(Sink.BODY, TagSet(_MESSAGE))
_THOUGHT = Mode(Sink.THINKING, _ENDS)
_HIDDEN = Mode(Sink.DROP, _ENDS)
_CALL = Mode(Sink.BODY, TagSet(CLOSE_CALLS))
_AFTER_CALL = Mode(Sink.CONTENT, _ENDS, trim_start=Trim.ALL, trims_end=True)
# A call that is not addressed to its tool.
_MISSENT_CALL = Mode(Sink.BODY, TagSet(CLOSE_CALLS))
_TEXT_OR_CALL = Mode(Sink.DROP, TagSet(OPEN_CALLS), otherwise=_TEXT)


class _GlimmerParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], thought: Mode) -> None:
        super().__init__(_HEADER, home=_TEXT)
        self._tools = tools
        self._thought = thought
        self._recipient = ""

    def _on_tag(self, tag: str) -> None:
        if tag == _MESSAGE:
            self._begin_message(self._take_body().strip())
        elif tag == "to=":
            self._enter(_RECIPIENT, opened=tag)
        elif tag == OPEN_CALLS:
            self._enter(_MISSENT_CALL)
            self._append_body(tag)
        elif tag == CLOSE_CALLS:
            self._append_body(tag)
            if self._mode is _CALL:
                self._take_call(self._take_body())
            else:
                self._take_missent_call(self._take_body())
            self._enter(_AFTER_CALL)
        else:
            self._enter(_HEADER, opened=tag if tag == _NEXT else "")

    def _begin_message(self, recipient: str) -> None:
        self._recipient = recipient
        if recipient == "self":
            self._enter(self._thought)
        elif recipient in ("", "user"):
            self._enter(_TEXT_OR_CALL if self._tools else _TEXT)
        elif resolve_tool(self._tools, recipient) is not None:
            self._enter(_CALL, opened=f"to={recipient}{_MESSAGE}")
        else:
            raise OutputParseError(f'undeclared Glimmer function "{recipient}"')

    def _take_call(self, body: str) -> None:
        try:
            name, tool, arguments = parse_atem(body, self._tools)
        except ValueError as error:
            raise OutputParseError(f"parse Glimmer call to {self._recipient}: {error}") from None
        if tool is None or tool != resolve_tool(self._tools, self._recipient):
            raise OutputParseError(
                f'Glimmer recipient "{self._recipient}" does not match ATEM invoke "{name}"'
            )
        self._call(tool.function.name.strip(), arguments)

    def _take_missent_call(self, body: str) -> None:
        try:
            _, tool, arguments = parse_atem(body, self._tools)
        except ValueError:
            tool, arguments = None, {}
        if tool is None:
            self._emit(body)
        else:
            self._call(tool.function.name.strip(), arguments)


def create_glimmer(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GlimmerParser(tools, _HIDDEN if think is False else _THOUGHT)
