"""Laguna and Poolside: thinking up to `</think>`, calls in `<tool_call>` as tagged pairs or as JSON.

With tools, a call may also stand in `<user>`, or bare, as a JSON object that names a declared tool.
Ollama: model/parsers/laguna.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import Calls, is_in_value, read_calls, read_pairs, without_tags
from corral.chat.parsing.coerce import find_tool
from corral.chat.parsing.scan import ObjectScanner
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALL, _CLOSE_CALL = "<tool_call>", "</tool_call>"
_OPEN_USER, _CLOSE_USER = "<user>", "</user>"
_FIRST_KEYS = ('"name"', '"arguments"')
_ALIASES = {"read_file": "read", "write_file": "write", "edit_file": "edit", "web_fetch": "webfetch"}

_THOUGHT_ENDS = TagSet(_CLOSE_THINK, _OPEN_CALL)
_CALL = Mode(Sink.BODY, TagSet(_CLOSE_CALL), is_inside=is_in_value, may_be_talk=True)
_USER = Mode(Sink.BODY, TagSet(_CLOSE_USER))
_JSON = Mode(Sink.BODY, TagSet())


class _LagunaParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], *, is_thinking: bool, is_started: bool) -> None:
        """`is_started`: the reply begins in its thinking, not after it."""
        self._tools = tools
        tags = TagSet(_OPEN_THINK, _OPEN_CALL, *((_OPEN_USER, "{") if tools else ()))
        spaced = (_OPEN_THINK, "{")
        self._text = Mode(Sink.CONTENT, tags, trims_end=True, spaced_tags=spaced)
        trimmed_text = Mode(Sink.CONTENT, tags, Trim.ALL, trims_end=True, spaced_tags=spaced)
        self._trimmed_text = trimmed_text
        # Where the answer begins; the prompt may have left the closing of the thinking to the model.
        self._answer = Mode(Sink.DROP, TagSet(_CLOSE_THINK), otherwise=trimmed_text)
        sink = Sink.THINKING if is_thinking else Sink.DROP
        self._thought = Mode(sink, _THOUGHT_ENDS, Trim.ALL, trims_end=True)
        self._after_thought = (
            trimmed_text
            if is_started
            else Mode(Sink.CONTENT, tags, Trim.BLANKS, trims_end=True, spaced_tags=spaced)
        )
        # A closing tag that comes twice.
        self._after_call = Mode(Sink.DROP, TagSet(_CLOSE_CALL), otherwise=trimmed_text)
        self._json_start = Mode(Sink.DROP, TagSet(*_FIRST_KEYS), otherwise=self._text)
        start = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=self._thought)
        super().__init__(start if is_started else self._answer, home=self._text)

    def _on_tag(self, tag: str) -> None:
        match tag:
            case "<think>":
                self._enter(self._thought)
            case "</think>":
                self._enter(self._trimmed_text if self._mode is self._answer else self._after_thought)
            case "<tool_call>":
                self._enter(_CALL, opened=tag)
            case "<user>":
                self._enter(_USER, opened=tag)
            case "{":
                self._enter(self._json_start, opened=tag)
            case '"name"' | '"arguments"':
                begun = "{" + self._skipped + tag
                scanner = ObjectScanner()
                scanner.scan(begun, 0, len(begun))
                self._enter(_JSON, scanner=scanner)
                self._append_body(begun)
            case "</tool_call>" if self._mode is self._after_call:
                self._enter(self._after_call)
            case _:
                self._enter(self._after_call if self._end_body(tag) else self._text)

    def _on_unclosed(self) -> None:
        """A call outside of its tags that the reply cut off is text."""
        if self._mode is _CALL:
            self._end_body("")
        else:
            self._emit(self._opened + self._take_body())

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """A call outside of its tags counts only if it is nothing but one of a declared tool."""
        found = self._find_calls(body, is_complete=is_complete or self._mode is _JSON, is_exact=is_exact)
        if found is not None and self._mode is not _CALL:
            is_call = not found.strays and all(find_tool(self._tools, name) for name, _ in found.calls)
            found = found if is_call else None
        return self._take(found)

    def _find_calls(self, body: str, *, is_complete: bool, is_exact: bool) -> Calls | None:
        tags = (_OPEN_CALL, _CLOSE_CALL)
        body = without_tags(body, tags)
        found = None
        if "{" not in body.partition("<arg_key>")[0]:
            found = read_pairs(body, self._tools, is_complete=is_complete or _is_whole(body))
        found = found or read_calls(body, self._tools, is_complete=is_complete, is_exact=is_exact, tags=tags)
        if found is not None:
            found.calls = [(self._resolve(name), arguments) for name, arguments in found.calls]
        return found

    def _resolve(self, name: str) -> str:
        alias = _ALIASES.get(name, "")
        is_alias = find_tool(self._tools, name) is None and find_tool(self._tools, alias) is not None
        return alias if is_alias else name


def _is_whole(body: str) -> bool:
    """Whether a call that was not closed ends where one may end."""
    return "<arg_" not in body or body.endswith("</arg_value>")


def create_laguna(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt goes on with a reply that the client has begun, after its thinking."""
    is_continued = last_message is not None and last_message.role == "assistant"
    return _LagunaParser(tools, is_thinking=bool(think), is_started=bool(think) and not is_continued)


def create_poolside(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt always begins a new reply."""
    return _LagunaParser(tools, is_thinking=bool(think), is_started=bool(think))
