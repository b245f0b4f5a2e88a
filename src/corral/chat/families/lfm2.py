"""LFM2, plain and thinking: tools on the system turn, calls as a list of Python-like expressions.

Prompts: calls stand in front of the text of their answer. The thinking variant writes earlier thinking into the text
again, but unless thinking is asked for only that of the last answer.
Replies: calls like Python's, or JSON, between two tags; a reply that begins with a list of calls of declared tools
needs no tags. Ollama: model/renderers/lfm2.go, model/parsers/lfm2.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import CallForm, python_call
from corral.chat.parsing.calls import is_in_value, read_listed_calls
from corral.chat.parsing.events import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation, trim
from corral.types import Message, Think, Tool, ToolCall

BOS = "<|startoftext|>"
OPEN_CALLS, CLOSE_CALLS = "<|tool_call_start|>", "<|tool_call_end|>"
OPEN_RESPONSE, CLOSE_RESPONSE = "<|tool_response_start|>", "<|tool_response_end|>"


# --- prompts -----------------------------------------------------------------------------------------------


def _render_plain(conversation: Conversation) -> str:
    """Render for LFM2."""
    return _render(conversation, has_thinking=False)


def _render_thinking(conversation: Conversation) -> str:
    """Render for LFM2 Thinking."""
    return _render(conversation, has_thinking=True)


def _render(conversation: Conversation, *, has_thinking: bool) -> str:
    messages = conversation.messages
    system = ""
    if messages and messages[0].role == "system":
        system, messages = messages[0].content, messages[1:]
    if conversation.tools:
        system += ("\n" if system else "") + _tools_section(conversation.tools)
    parts = [BOS]
    if system:
        parts.append(chatml.format_turn("system", system))
    keeps_thinking = has_thinking and conversation.is_thinking(default=False)
    last_answer = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    for i, message in enumerate(messages):
        content = message.content
        if message.role == "assistant":
            content = _answer(message, has_thinking, is_dropped=not keeps_thinking and i != last_answer)
        elif message.role == "tool" and OPEN_RESPONSE not in content:
            content = OPEN_RESPONSE + content + CLOSE_RESPONSE
        parts.append(chatml.format_turn(message.role, content))
    if conversation.is_prefill:
        parts[-1] = parts[-1].removesuffix(chatml.CLOSE)
    else:
        parts.append(f"{chatml.OPEN}assistant\n")
    return "".join(parts)


def _answer(message: Message, has_thinking: bool, *, is_dropped: bool) -> str:
    content = message.content
    has_block = has_thinking and message.thinking and not is_dropped
    thinking = marks.OPEN_THINK + message.thinking + marks.CLOSE_THINK if has_block else ""
    if is_dropped and marks.CLOSE_THINK in content:
        content = trim(content.rpartition(marks.CLOSE_THINK)[2])
    if message.tool_calls and OPEN_CALLS not in content:
        calls = ",".join(_format_call(call) for call in message.tool_calls)
        gap = "\n" if content else ""
        content = f"{OPEN_CALLS}[{calls}]{CLOSE_CALLS}{gap}{content}"
    return thinking + content


def _tools_section(tools: Sequence[Tool]) -> str:
    listed = ", ".join(_json(_schema(tool)) for tool in tools)
    return f"List of tools: <|tool_list_start|>[{listed}]<|tool_list_end|>"


def _schema(tool: Tool) -> dict[str, Any]:
    return jsontext.function_object(tool.function) if tool.function.name else jsontext.tool_object(tool)


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.sorted_value(call.arguments)
    return f"{call.name}({','.join(f'{name}={_json(value)}' for name, value in arguments.items())})"


def _json(value: Any) -> str:
    return jsontext.format_json(value, is_spaced=True, is_escaped=False)


# --- replies -----------------------------------------------------------------------------------------------

_CALL_TAGS = TagSet(OPEN_CALLS)
_TEXT = Mode(Sink.CONTENT, _CALL_TAGS)
_TEXT_AFTER_TAG = Mode(Sink.CONTENT, _CALL_TAGS, trim_start=Trim.ALL)
_THOUGHT = Mode(Sink.THINKING, TagSet(marks.CLOSE_THINK), trim_start=Trim.ALL, trims_end=True)
_BODY = Mode(Sink.BODY, TagSet(CLOSE_CALLS), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALLS = Mode(Sink.DROP, TagSet(CLOSE_CALLS), otherwise=_TEXT_AFTER_TAG)
_BARE_BODY = Mode(Sink.BODY, _CALL_TAGS)


class _LFM2Parser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], *, is_thinking: bool) -> None:
        self._tools = tools
        self._names = {tool.function.name for tool in tools if tool.function.name}
        self._bare_calls = tuple(f"[{name}(" for name in self._names)
        first, self._answer = _TEXT, _TEXT_AFTER_TAG
        if self._bare_calls:
            tags = TagSet(*self._bare_calls, OPEN_CALLS)
            first = Mode(Sink.DROP, tags, otherwise=_TEXT)
            self._answer = Mode(Sink.DROP, tags, otherwise=_TEXT_AFTER_TAG)
        start = Mode(Sink.DROP, TagSet(marks.OPEN_THINK), otherwise=self._answer)
        super().__init__(start if is_thinking else first, home=_TEXT)

    def _on_tag(self, tag: str) -> None:
        if tag == marks.OPEN_THINK:
            self._enter(_THOUGHT)
        elif tag == marks.CLOSE_THINK:
            self._enter(self._answer)
        elif tag == CLOSE_CALLS:
            is_call = self._mode is not _BODY or self._end_body(tag)
            self._enter(_AFTER_CALLS if is_call else _TEXT)
        elif tag in self._bare_calls:
            self._enter(_BARE_BODY)
            self._append_body(tag)
        else:
            if self._mode is _BARE_BODY:
                self._take_bare_calls()
            self._enter(_BODY, opened=tag)

    def _on_unclosed(self) -> None:
        if self._mode is _BARE_BODY:
            self._take_bare_calls()
        else:
            self._end_body("")

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(
            read_listed_calls(
                body,
                self._tools,
                is_complete=is_complete,
                is_exact=is_exact,
                tags=(OPEN_CALLS, CLOSE_CALLS),
            )
        )

    def _take_bare_calls(self) -> None:
        """Calls without tags count if they are nothing but calls of declared tools."""
        body = self._take_body()
        found = read_listed_calls(body, self._tools, is_complete=False, is_exact=True)
        if found is None or any(name not in self._names for name, _ in found.calls):
            self._emit(body)
        else:
            self._take(found)


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _LFM2Parser(tools, is_thinking=False)


def _create_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _LFM2Parser(tools, is_thinking=bool(think) and not is_prefilled(last_message))


# --- the family --------------------------------------------------------------------------------------------

_TOKENS = (*marks.THINK, OPEN_CALLS, CLOSE_CALLS)
_FORM = CallForm(python_call, (OPEN_CALLS,), f"{OPEN_CALLS}[", f"]{CLOSE_CALLS}", ", ")

FAMILY = Family(
    renderers=(
        Renderer("lfm2", _render_plain, BOS, has_image_tags=True),
        Renderer("lfm2-thinking", _render_thinking, BOS, has_image_tags=True),
    ),
    parsers=(
        Parser("lfm2", _create, _TOKENS, _FORM),
        Parser("lfm2-thinking", _create_thinking, _TOKENS, _FORM, has_thinking=True),
    ),
    signs=(Sign((OPEN_CALLS,), "lfm2"),),
)
