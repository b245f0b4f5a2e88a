"""Qwen3-VL, instruct and thinking: tools and calls as JSON.

Thinking of earlier answers is shown after the last question only. The instruct variant thinks when asked to, the
thinking one unless it is switched off. A turn that has thinking but no text stays without its closing tag: models saw
it so.
Ollama: model/renderers/qwen3vl.go, model/parsers/qwen3vl.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer
from corral.chat.parsing.call_forms import JSON_IN_TAGS
from corral.chat.parsing.events import is_prefilled
from corral.chat.parsing.qwen import AFTER_VL_CALL, TEXT, VL_THOUGHT, QwenParser
from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation, last_query_index
from corral.types import Message, Think, Tool, ToolCall

# --- prompts -----------------------------------------------------------------------------------------------

_TOOLS_INTRODUCTION = f"""\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within {marks.OPEN_TOOLS}{marks.CLOSE_TOOLS} XML tags:
{marks.OPEN_TOOLS}
"""
_CALL_FORMAT = f"""
{marks.CLOSE_TOOLS}

For each function call, return a json object with function name and arguments within \
{marks.OPEN_CALL}{marks.CLOSE_CALL} XML tags:
{marks.OPEN_CALL}
{{"name": <function-name>, "arguments": <args-json-object>}}
{marks.CLOSE_CALL}"""


def _render_instruct(conversation: Conversation) -> str:
    """Render for a model that does not think unless asked."""
    return _render(conversation, is_thinking=conversation.is_thinking(default=False))


def _render_thinking(conversation: Conversation) -> str:
    """Render for a model that thinks unless that is switched off."""
    return _render(conversation, is_thinking=conversation.is_thinking(default=True))


def _render(conversation: Conversation, *, is_thinking: bool) -> str:
    messages = conversation.messages
    parts: list[str] = []
    system = messages[0] if messages and messages[0].role == "system" else None
    if conversation.tools:
        lead = f"{system.content}\n\n" if system else ""
        parts.append(chatml.format_turn("system", lead + _tools_section(conversation.tools)))
    elif system:
        parts.append(chatml.format_turn("system", system.content))
    query = last_query_index(messages)
    for i, message in enumerate(messages):
        is_last = i == len(messages) - 1
        if message.role == "tool":
            parts.append(chatml.format_tool_result(messages, i, message.content))
        elif message.role == "user" or (message.role == "system" and i > 0):
            parts.append(chatml.format_turn(message.role, message.content))
        elif message.role == "assistant":
            body = _thinking_and_content(message, is_last) if is_thinking and i > query else message.content
            parts.append(f"{chatml.OPEN}assistant\n{body}{_calls(message)}{'' if is_last else chatml.CLOSE}")
    if messages and not conversation.is_prefill:
        parts.append(f"{chatml.OPEN}assistant\n{marks.OPEN_THINK + chr(10) if is_thinking else ''}")
    return "".join(parts)


def _tools_section(tools: Sequence[Tool]) -> str:
    lines = "\n".join(jsontext.format_spaced(jsontext.tool_object(tool)) for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{lines}{_CALL_FORMAT}"


def _thinking_and_content(message: Message, is_last: bool) -> str:
    if not message.thinking and not is_last:
        return message.content
    thinking = f"{marks.OPEN_THINK}\n" + message.thinking.strip("\n")
    return (
        f"{thinking}\n{marks.CLOSE_THINK}\n\n{message.content.lstrip(chr(10))}"
        if message.content
        else thinking
    )


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    return ("\n" if message.content else "") + "\n".join(_format_call(call) for call in message.tool_calls)


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.format_spaced(jsontext.arguments_object(call.arguments))
    return f'{marks.OPEN_CALL}\n{{"name": "{call.name}", "arguments": {arguments}}}\n{marks.CLOSE_CALL}'


# --- the family --------------------------------------------------------------------------------------------


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> QwenParser:
    return QwenParser(TEXT, AFTER_VL_CALL, tools)


def _create_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> QwenParser:
    """The prompt opens the thinking even when it was switched off."""
    first = TEXT if is_prefilled(last_message) else VL_THOUGHT
    return QwenParser(first, AFTER_VL_CALL, tools)


_TOKENS = (marks.CLOSE_THINK, *marks.CALL)

FAMILY = Family(
    renderers=(
        Renderer("qwen3-vl-instruct", _render_instruct, has_image_tags=True),
        Renderer("qwen3-vl-thinking", _render_thinking, has_image_tags=True),
    ),
    parsers=(
        Parser("qwen3-vl-instruct", _create, _TOKENS, JSON_IN_TAGS),
        Parser("qwen3-vl-thinking", _create_thinking, _TOKENS, JSON_IN_TAGS, has_thinking=True),
    ),
)
