"""LFM2, plain and thinking: tools on the system turn, calls as a list of Python-like expressions.

Calls stand in front of the text of their answer. The thinking variant writes earlier thinking into the text
again, but unless thinking is asked for only that of the last answer.
Source: ollama: model/renderers/lfm2.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation, trim
from corral.types import Message, Tool, ToolCall

BOS = "<|startoftext|>"


def render(conversation: Conversation) -> str:
    """Render for LFM2."""
    return _render(conversation, has_thinking=False)


def render_thinking(conversation: Conversation) -> str:
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
        elif message.role == "tool" and "<|tool_response_start|>" not in content:
            content = f"<|tool_response_start|>{content}<|tool_response_end|>"
        parts.append(chatml.format_turn(message.role, content))
    if conversation.is_prefill:
        parts[-1] = parts[-1].removesuffix(chatml.CLOSE)
    else:
        parts.append(f"{chatml.OPEN}assistant\n")
    return "".join(parts)


def _answer(message: Message, has_thinking: bool, *, is_dropped: bool) -> str:
    content = message.content
    thinking = (
        f"<think>{message.thinking}</think>" if has_thinking and message.thinking and not is_dropped else ""
    )
    if is_dropped and "</think>" in content:
        content = trim(content.rpartition("</think>")[2])
    if message.tool_calls and "<|tool_call_start|>" not in content:
        calls = ",".join(_format_call(call) for call in message.tool_calls)
        gap = "\n" if content else ""
        content = f"<|tool_call_start|>[{calls}]<|tool_call_end|>{gap}{content}"
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
