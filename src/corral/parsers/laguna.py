"""Laguna and Poolside: thinking up to `</think>`, calls in `<tool_call>` as tagged pairs or as JSON.

With tools, a call may also stand in `<user>`, or bare, as a JSON object that names a declared tool.
Ollama: model/parsers/laguna.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.errors import OutputParseError
from corral.parsers.arguments import parse_arguments
from corral.parsers.coerce import find_tool
from corral.parsers.glm_call import coerce_pairs, parse_glm_call
from corral.parsers.qwen import parse_json_call
from corral.parsers.scan import ObjectScanner
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["create_laguna", "create_poolside"]

_OPEN_THINK, _CLOSE_THINK = "<think>", "</think>"
_OPEN_CALL, _CLOSE_CALL = "<tool_call>", "</tool_call>"
_OPEN_USER, _CLOSE_USER = "<user>", "</user>"
_FIRST_KEYS = ('"name"', '"arguments"')
_ALIASES = {"read_file": "read", "write_file": "write", "edit_file": "edit", "web_fetch": "webfetch"}

_THOUGHT_ENDS = TagSet(_CLOSE_THINK, _OPEN_CALL)
_CALL = Mode(Sink.BODY, TagSet(_CLOSE_CALL))
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
        # Where the answer begins; the prompt may have left the closing of the thinking to the model.
        self._answer = Mode(Sink.DROP, TagSet(_CLOSE_THINK), otherwise=trimmed_text)
        sink = Sink.THINKING if is_thinking else Sink.DROP
        self._thought = Mode(sink, _THOUGHT_ENDS, Trim.ALL, trims_end=True)
        self._after_thought = (
            trimmed_text
            if is_started
            else Mode(Sink.CONTENT, tags, Trim.BLANKS, trims_end=True, spaced_tags=spaced)
        )
        self._after_call = trimmed_text
        self._json_start = Mode(Sink.DROP, TagSet(*_FIRST_KEYS), otherwise=self._text)
        start = Mode(Sink.DROP, TagSet(_OPEN_THINK), otherwise=self._thought)
        super().__init__(start if is_started else self._answer, home=self._text)

    def _on_tag(self, tag: str) -> None:
        match tag:
            case "<think>":
                self._enter(self._thought)
            case "</think>":
                self._enter(self._after_call if self._mode is self._answer else self._after_thought)
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
            case "</tool_call>":
                self._take_call(self._take_body())
                self._enter(self._after_call)
            case _:
                self._take_other_call(tag)

    def _take_other_call(self, closed: str) -> None:
        """A call outside of its tags counts only if it is one of a declared tool."""
        body = self._take_body()
        try:
            is_call = find_tool(self._tools, self._parse_call(body)[0]) is not None
        except OutputParseError:
            is_call = False
        if is_call:
            self._take_call(body)
            self._enter(self._after_call)
        else:
            self._emit(self._opened + body + closed)
            self._enter(self._text)

    def _on_unclosed(self) -> None:
        if self._mode is not _CALL:
            self._release_body()
            return
        body = self._take_body()
        try:
            self._take_call(body)
        except OutputParseError:
            self._emit(self._opened + body)

    def _take_call(self, body: str) -> None:
        name, arguments, strays = self._parse_call(body)
        self._emit(strays)
        self._call(name, arguments)

    def _parse_call(self, body: str) -> tuple[str, dict[str, Any], str]:
        """Name, arguments, and text that belongs to neither."""
        body = body.strip()
        while body.startswith(_OPEN_CALL):
            body = body.removeprefix(_OPEN_CALL).strip()
        if body.startswith("{"):
            return self._parse_json(body)
        head, brace, rest = body.partition("{")
        if brace and "<arg_key>" not in head:
            try:
                return self._resolve(head.strip()), parse_arguments(brace + rest), ""
            except ValueError as error:
                raise OutputParseError(f"failed to parse Laguna JSON tool call arguments: {error}") from None
        try:
            name, pairs, strays = parse_glm_call(body)
        except ValueError as error:
            raise OutputParseError(str(error)) from None
        name = self._resolve(name)
        return name, coerce_pairs(pairs, name, self._tools), strays

    def _parse_json(self, body: str) -> tuple[str, dict[str, Any], str]:
        try:
            name, arguments = parse_json_call(body)
        except OutputParseError as error:
            raise OutputParseError(f"failed to parse Laguna JSON tool call: {error}") from None
        if not name:
            raise OutputParseError("empty Laguna tool call name")
        return self._resolve(name), arguments, ""

    def _resolve(self, name: str) -> str:
        alias = _ALIASES.get(name, "")
        is_alias = find_tool(self._tools, name) is None and find_tool(self._tools, alias) is not None
        return alias if is_alias else name


def create_laguna(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt goes on with a reply that the client has begun, after its thinking."""
    is_continued = last_message is not None and last_message.role == "assistant"
    return _LagunaParser(tools, is_thinking=bool(think), is_started=bool(think) and not is_continued)


def create_poolside(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt always begins a new reply."""
    return _LagunaParser(tools, is_thinking=bool(think), is_started=bool(think))
