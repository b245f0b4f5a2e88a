"""FunctionGemma and Gemma 4: calls in Gemma's own form, and Gemma 4's thinking in a channel.

Ollama: model/parsers/functiongemma.go, gemma4.go. A call that cannot be read or repaired is given back as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.parsing.calls import Calls, read_calls
from corral.chat.parsing.gemma_values import parse_gemma_call
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

_OPEN_FUNCTION, _CLOSE_FUNCTION, _ESCAPE = "<start_function_call>", "<end_function_call>", "<escape>"
_FUNCTION_TEXT = Mode(Sink.CONTENT, TagSet(_OPEN_FUNCTION))
_FUNCTION = Mode(
    Sink.BODY,
    TagSet(_CLOSE_FUNCTION, _OPEN_FUNCTION),
    is_inside=lambda body: body.count(_ESCAPE) % 2 == 1,
)
# A closing tag that comes twice.
_AFTER_FUNCTION = Mode(Sink.DROP, TagSet(_CLOSE_FUNCTION), otherwise=_FUNCTION_TEXT)

_OPEN_CHANNEL, _CLOSE_CHANNEL = "<|channel>", "<channel|>"
_OPEN_CALL, _CLOSE_CALL, _RESPONSE = "<|tool_call>", "<tool_call|>", "<|tool_response>"
_DELIMITER = '<|"|>'
_CHANNEL_NAME = "thought\n"

_TEXT_TAGS = TagSet(_OPEN_CHANNEL, _OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trims_end=True, keeps_end=True)
_TEXT_AFTER_TAG = Mode(Sink.CONTENT, _TEXT_TAGS, Trim.ALL, trims_end=True, keeps_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(_CLOSE_CHANNEL), trims_end=True)
_HIDDEN = Mode(Sink.DROP, TagSet(_CLOSE_CHANNEL))
_CALL = Mode(Sink.BODY, TagSet(_CLOSE_CALL, _OPEN_CALL, _RESPONSE, _DELIMITER))
_STRING = Mode(Sink.BODY, TagSet(_DELIMITER))
# Closing tags that the model repeats, and the place where its answer would go.
_AFTER_CALL = Mode(Sink.DROP, TagSet(_CLOSE_CALL, _RESPONSE), otherwise=_TEXT_AFTER_TAG)


class _FunctionGemmaParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__(_FUNCTION_TEXT, home=_FUNCTION_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_FUNCTION:
            if self._mode is _FUNCTION and self._body:
                self._end_body("")
            self._enter(_FUNCTION, opened=tag)
            return
        if self._mode is _FUNCTION:
            self._end_body(tag)
        self._enter(_AFTER_FUNCTION)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(_read_gemma_calls(body, _ESCAPE, self._tools, is_complete=is_complete))


class _Gemma4Parser(TaggedParser):
    def __init__(self, first: Mode, thought: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools
        self._thought = thought
        self._channel = Mode(Sink.DROP, TagSet(_CHANNEL_NAME), otherwise=thought)

    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_CHANNEL:
            self._enter(self._channel)
        elif tag == _CHANNEL_NAME:
            self._enter(self._thought)
        elif tag == _CLOSE_CHANNEL:
            self._enter(_TEXT_AFTER_TAG)
        elif tag == _DELIMITER:
            self._append_body(tag)
            self._enter(_STRING if self._mode is _CALL else _CALL, self._opened)
        elif self._mode is _AFTER_CALL:
            self._enter(_AFTER_CALL)
        else:
            if self._mode is _CALL and (self._body or tag == _CLOSE_CALL):
                self._end_body(tag if tag == _CLOSE_CALL else "")
            if tag == _OPEN_CALL:
                self._enter(_CALL, opened=tag)
            else:
                self._enter(_AFTER_CALL)

    def _on_unclosed(self) -> None:
        """A closing tag in a string counts after all if the string was never closed."""
        opened, mode = self._opened, self._mode
        body = self._take_body()
        head, tag, tail = body.partition(_CLOSE_CALL)
        if tag and mode is _STRING and self._read_body(head, is_complete=True, is_exact=False):
            self._emit(tail.strip())
        elif not self._read_body(body, is_complete=False, is_exact=False):
            self._emit(opened + body)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(_read_gemma_calls(body, _DELIMITER, self._tools, is_complete=is_complete))


def _read_gemma_calls(body: str, delimiter: str, tools: Sequence[Tool], *, is_complete: bool) -> Calls | None:
    """One or more calls in Gemma's form, or in another."""
    found, rest = Calls(), body
    try:
        while not found.calls or rest.lstrip().startswith("call:"):
            name, arguments, rest = parse_gemma_call(rest, delimiter)
            found.calls.append((name, arguments))
    except ValueError:
        if not found.calls:
            return read_calls(body, tools, is_complete=is_complete)
    found.strays = rest.strip().lstrip("}").strip()
    return found


def create_functiongemma(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _FunctionGemmaParser(tools)


def create_gemma4(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """After the result of a tool the model goes on thinking."""
    if not think:
        return _Gemma4Parser(_TEXT, _HIDDEN, tools)
    is_after_tool = last_message is not None and last_message.role == "tool"
    return _Gemma4Parser(_THOUGHT if is_after_tool else _TEXT, _THOUGHT, tools)


def create_gemma4_no_thinking(
    tools: Sequence[Tool], last_message: Message | None, think: Think
) -> TaggedParser:
    return _Gemma4Parser(_TEXT, _HIDDEN, tools)
