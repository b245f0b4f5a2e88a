"""Glimmer: messages with a recipient, ` to=NAME<|message|>TEXT<|eom|>`. Ollama: model/parsers/glimmer.go.

`self` is the model's thinking, a tool's name a call in ATEM form, anyone else the user. Text where a header should
be is content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from corral.chat.parsing.atem import CLOSE_CALLS, OPEN_CALLS, parse_atem, resolve_tool
from corral.chat.parsing.calls import Calls, read_arguments, read_calls, without_tags
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_START, _MESSAGE, _END_MESSAGE, _END_TURN = "<|start|>", "<|message|>", "<|eom|>", "<|eot|>"
GLIMMER_TAGS = (_START, _MESSAGE, _END_MESSAGE, _END_TURN)
_NEXT = _START + "assistant"
_NAME = re.compile(r"[\w.:/-]+")
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
            if self._mode is not _AFTER_CALL:
                self._append_body(tag)
                self._end_body("")
            self._enter(_AFTER_CALL)
        else:
            self._enter(_HEADER, opened=tag if tag == _NEXT else "")

    def _begin_message(self, recipient: str) -> None:
        self._recipient = recipient
        if recipient == "self":
            self._enter(self._thought)
        elif recipient in ("", "user"):
            self._enter(_TEXT_OR_CALL if self._tools else _TEXT)
        elif _NAME.fullmatch(recipient):
            self._enter(_CALL, opened=f"to={recipient}{_MESSAGE}")
        else:
            self._emit(f"to={recipient}")
            self._enter(_TEXT_OR_CALL if self._tools else _TEXT)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """A call that its message is addressed to; without an address one of a declared tool."""
        if not self._tools:  # the request expects text
            return False
        body = OPEN_CALLS + without_tags(body, (OPEN_CALLS, CLOSE_CALLS)) + CLOSE_CALLS
        try:
            name, tool, arguments = parse_atem(body, self._tools)
        except ValueError:
            return self._read_other(body, is_complete=is_complete)
        if self._mode is _CALL and tool != resolve_tool(self._tools, self._recipient):
            return False
        if tool is None and self._mode is not _CALL:
            return False
        self._call(name if tool is None else tool.function.name.strip(), arguments)
        return True

    def _read_other(self, body: str, *, is_complete: bool) -> bool:
        """Arguments as JSON, or calls in another form."""
        inner = body.removeprefix(OPEN_CALLS).removesuffix(CLOSE_CALLS)
        tool = resolve_tool(self._tools, self._recipient) if self._mode is _CALL else None
        found = read_calls(inner, self._tools, is_complete=is_complete)
        if found is None and tool is not None and inner.strip().startswith(("{", "[")):
            arguments = read_arguments(inner, is_complete=is_complete)
            found = None if arguments is None else Calls([(tool.function.name.strip(), arguments)])
        return self._take(found)


def create_glimmer(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GlimmerParser(tools, _HIDDEN if think is False else _THOUGHT)
