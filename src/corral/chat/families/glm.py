"""GLM-4.7 and GLM-OCR: tools in a system block before all messages, calls with keys and values in tags, no prefill.

Prompts: thinking of earlier answers is always shown. Roles other than the four known ones are dropped.
Replies: thinking up to `</think>`. A call that is still open at the end of the reply counts if it is complete.
Ollama: model/renderers/glm47.go, glmocr.go, model/parsers/glm46.go, glm47.go, glmocr.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import CallForm, pairs_call
from corral.chat.parsing.calls import is_in_value, read_calls, read_pairs, without_tags
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, is_run_start, trim
from corral.types import Message, Think, Tool, ToolCall

SYSTEM, USER, ASSISTANT, OBSERVATION = "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"
BEGIN = "[gMASK]<sop>"


# --- prompts -----------------------------------------------------------------------------------------------

_TOOLS_INTRODUCTION = f"""{SYSTEM}
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within {marks.OPEN_TOOLS}{marks.CLOSE_TOOLS} XML tags:
{marks.OPEN_TOOLS}
"""
_CALL_FORMAT = (
    f"{marks.CLOSE_TOOLS}\n\n"
    "For each function call, output the function name and arguments within the following XML format:\n"
    f"{marks.OPEN_CALL}{{function-name}}"
    f"{marks.OPEN_KEY}{{arg-key-1}}{marks.CLOSE_KEY}{marks.OPEN_VALUE}{{arg-value-1}}{marks.CLOSE_VALUE}"
    f"{marks.OPEN_KEY}{{arg-key-2}}{marks.CLOSE_KEY}{marks.OPEN_VALUE}{{arg-value-2}}{marks.CLOSE_VALUE}"
    f"...{marks.CLOSE_CALL}"
)
_NO_THINK = "/nothink"


def _render(conversation: Conversation) -> str:
    """Render for GLM-4.7, which thinks unless that is switched off."""
    messages = conversation.messages
    parts = [BEGIN, _tools_section(conversation.tools)]
    for i, message in enumerate(messages):
        if message.role in {"system", "user"}:
            parts.append(f"<|{message.role}|>{message.content}")
        elif message.role == "assistant":
            thinking = marks.OPEN_THINK + message.thinking if message.thinking else ""
            calls = "".join(_format_call(call) for call in message.tool_calls)
            parts.append(f"{ASSISTANT}{thinking}{marks.CLOSE_THINK}{message.content}{calls}")
        elif message.role == "tool":
            opening = OBSERVATION if is_run_start(messages, i) else ""
            parts.append(opening + marks.OPEN_RESPONSE + message.content + marks.CLOSE_RESPONSE)
    parts.append(
        ASSISTANT + (marks.OPEN_THINK if conversation.is_thinking(default=True) else marks.CLOSE_THINK)
    )
    return "".join(parts)


def _render_ocr(conversation: Conversation) -> str:
    """Render for GLM-OCR, which decides whether to think unless that is switched off."""
    messages = conversation.messages
    must_not_think = conversation.think is False
    parts = [BEGIN, _tools_section(conversation.tools)]
    for i, message in enumerate(messages):
        if message.role == "system":
            parts.append(f"{SYSTEM}\n{message.content}\n")
        elif message.role == "user":
            suffix = _NO_THINK if must_not_think and not message.content.endswith(_NO_THINK) else ""
            parts.append(f"{USER}\n{message.content}{suffix}")
        elif message.role == "assistant":
            parts.append(f"{ASSISTANT}\n{_ocr_answer(message)}\n")
        elif message.role == "tool":
            opening = OBSERVATION if is_run_start(messages, i) else ""
            parts.append(f"{opening}\n{marks.OPEN_RESPONSE}\n{message.content}\n{marks.CLOSE_RESPONSE}\n")
    parts.append(f"{ASSISTANT}\n" + (f"{marks.OPEN_THINK}{marks.CLOSE_THINK}\n" if must_not_think else ""))
    return "".join(parts)


def _ocr_answer(message: Message) -> str:
    content = f"\n{trim(message.content)}" if message.content else ""
    calls = "".join(f"\n{_format_call(call)}" for call in message.tool_calls)
    return f"{marks.OPEN_THINK}{trim(message.thinking)}{marks.CLOSE_THINK}{content}{calls}"


def _tools_section(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    lines = "".join(jsontext.format_spaced(jsontext.tool_object(tool)) + "\n" for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{lines}{_CALL_FORMAT}"


def _format_call(call: ToolCall) -> str:
    arguments = "".join(
        f"{marks.OPEN_KEY}{name}{marks.CLOSE_KEY}{marks.OPEN_VALUE}{jsontext.format_bare(value)}{marks.CLOSE_VALUE}"
        for name, value in call.arguments.items()
    )
    return marks.OPEN_CALL + call.name + arguments + marks.CLOSE_CALL


# --- replies -----------------------------------------------------------------------------------------------

_CALLS = TagSet(marks.OPEN_CALL)
_TEXT = Mode(Sink.CONTENT, _CALLS, trims_end=True)
_TEXT_AFTER_THINK = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.ALL, trims_end=True)
_TEXT_AFTER_CALL = Mode(Sink.CONTENT, _CALLS, trim_start=Trim.LINES, trims_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(marks.CLOSE_THINK), trims_end=True)
_THOUGHT_AFTER_TAG = Mode(Sink.THINKING, TagSet(marks.CLOSE_THINK), trim_start=Trim.ALL, trims_end=True)
_START = Mode(Sink.DROP, TagSet(marks.OPEN_THINK), otherwise=_TEXT)
_BODY = Mode(Sink.BODY, TagSet(marks.CLOSE_CALL), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALL = Mode(Sink.DROP, TagSet(marks.CLOSE_CALL), otherwise=_TEXT_AFTER_CALL)


class _GLMParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        match tag:
            case marks.OPEN_THINK:
                self._enter(_THOUGHT_AFTER_TAG)
            case marks.CLOSE_THINK:
                self._enter(_TEXT_AFTER_THINK)
            case marks.OPEN_CALL:
                self._enter(_BODY, opened=tag)
            case _:
                is_call = self._mode is not _BODY or self._end_body(tag)
                self._enter(_AFTER_CALL if is_call else _TEXT)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(
            read_pairs(without_tags(body, marks.CALL), self._tools, is_complete=is_complete)
            or read_calls(
                body,
                self._tools,
                is_complete=is_complete,
                is_exact=is_exact,
                tags=marks.CALL,
            )
        )


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GLMParser(_START if think is False else _THOUGHT, tools)


def _create_ocr(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GLMParser(_START, tools)


# --- the family --------------------------------------------------------------------------------------------

_TOKENS = (*marks.THINK, *marks.CALL, *marks.PAIRS)
_FORM = CallForm(pairs_call(""), (marks.OPEN_CALL,))

FAMILY = Family(
    renderers=(Renderer("glm-4.7", _render), Renderer("glm-ocr", _render_ocr, has_image_tags=True)),
    parsers=(
        Parser("glm-4.7", _create, _TOKENS, _FORM, has_thinking=True),
        Parser("glm-ocr", _create_ocr, _TOKENS, _FORM),
    ),
    signs=(Sign((marks.OPEN_KEY, marks.OPEN_VALUE), "glm-4.7"),),
)
