"""FunctionGemma and Gemma 4: calls in Gemma's own form, and Gemma 4's thinking in a channel.

Ollama: model/parsers/functiongemma.go, gemma4.go. A call that cannot be read or repaired is given back as text.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.parsers.gemma_values import parse_gemma_call
from corral.parsers.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

__all__ = ["create_functiongemma", "create_gemma4", "create_gemma4_no_thinking"]

_OPEN_FUNCTION, _CLOSE_FUNCTION, _ESCAPE = "<start_function_call>", "<end_function_call>", "<escape>"
_FUNCTION_TEXT = Mode(Sink.CONTENT, TagSet(_OPEN_FUNCTION))
_FUNCTION = Mode(Sink.BODY, TagSet(_CLOSE_FUNCTION))

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
    def _on_tag(self, tag: str) -> None:
        if tag == _OPEN_FUNCTION:
            self._enter(_FUNCTION, opened=tag)
            return
        self._take_call(tag)
        self._enter(_FUNCTION_TEXT)

    def _on_unclosed(self) -> None:
        self._take_call("")

    def _take_call(self, closed: str) -> None:
        body = self._take_body()
        try:
            name, arguments, rest = parse_gemma_call(body, _ESCAPE)
        except ValueError:
            self._emit(self._opened + body + closed)
            return
        self._call(name, arguments)
        self._emit(rest.strip())


class _Gemma4Parser(TaggedParser):
    def __init__(self, first: Mode, thought: Mode) -> None:
        super().__init__(first, home=_TEXT)
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
            if self._mode is _CALL:
                self._take_call(tag)
            if tag == _OPEN_CALL:
                self._enter(_CALL, opened=tag)
            else:
                self._enter(_AFTER_CALL)

    def _on_unclosed(self) -> None:
        """A closing tag in a string counts after all if the string was never closed."""
        body = self._take_body()
        head, tag, tail = body.partition(_CLOSE_CALL)
        if tag and self._mode is _STRING and self._try_call(head):
            self._emit(tail.strip())
        elif not self._try_call(body):
            self._emit(self._opened + body)

    def _take_call(self, tag: str) -> None:
        body = self._take_body()
        if not self._try_call(body):
            self._emit(self._opened + body + (tag if tag == _CLOSE_CALL else ""))

    def _try_call(self, body: str) -> bool:
        try:
            name, arguments, rest = parse_gemma_call(body, _DELIMITER)
        except ValueError:
            return False
        self._call(name, arguments)
        self._emit(rest.strip())
        return True


def create_functiongemma(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _FunctionGemmaParser(_FUNCTION_TEXT, home=_FUNCTION_TEXT)


def create_gemma4(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """After the result of a tool the model goes on thinking."""
    if not think:
        return _Gemma4Parser(_TEXT, _HIDDEN)
    is_after_tool = last_message is not None and last_message.role == "tool"
    return _Gemma4Parser(_THOUGHT if is_after_tool else _TEXT, _THOUGHT)


def create_gemma4_no_thinking(
    tools: Sequence[Tool], last_message: Message | None, think: Think
) -> TaggedParser:
    return _Gemma4Parser(_TEXT, _HIDDEN)
