"""Qwen3-VL, instruct and thinking: tools and calls as JSON.

Thinking of earlier answers is shown after the last question only. The instruct variant thinks when asked to, the
thinking one unless told not to. A turn that has thinking but no text stays without its closing tag: models saw it so.
Source: ollama: model/renderers/qwen3vl.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation, last_query_index
from corral.types import Message, Tool, ToolCall

_TOOLS_INTRODUCTION = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_CALL_FORMAT = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def render_instruct(conversation: Conversation) -> str:
    """Render for a model that does not think unless asked."""
    return _render(conversation, is_thinking=conversation.is_thinking(default=False))


def render_thinking(conversation: Conversation) -> str:
    """Render for a model that thinks unless told not to."""
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
        parts.append(f"{chatml.OPEN}assistant\n{'<think>' + chr(10) if is_thinking else ''}")
    return "".join(parts)


def _tools_section(tools: Sequence[Tool]) -> str:
    lines = "\n".join(jsontext.format_spaced(jsontext.tool_object(tool)) for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{lines}{_CALL_FORMAT}"


def _thinking_and_content(message: Message, is_last: bool) -> str:
    if not message.thinking and not is_last:
        return message.content
    thinking = "<think>\n" + message.thinking.strip("\n")
    return f"{thinking}\n</think>\n\n{message.content.lstrip(chr(10))}" if message.content else thinking


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    return ("\n" if message.content else "") + "\n".join(_format_call(call) for call in message.tool_calls)


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.format_spaced(jsontext.arguments_object(call.arguments))
    return f'<tool_call>\n{{"name": "{call.name}", "arguments": {arguments}}}\n</tool_call>'
