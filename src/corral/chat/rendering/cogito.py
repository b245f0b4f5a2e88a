"""Cogito: the identity text always stands first, only a leading system message is heard, no prefill.

A user turn is always followed by the assistant marker, so an answer has none of its own.
Source: ollama: model/renderers/cogito.go.
"""

from __future__ import annotations

from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, is_run_end, is_run_start
from corral.types import Message, ToolCall

BOS = "<｜begin▁of▁sentence｜>"
_IDENTITY = (
    "You are Cogito, an AI assistant created by Deep Cogito, "
    "which is an AI research lab based in San Francisco."
)
_ASSISTANT = "<｜Assistant｜>"
_END = "<｜end▁of▁sentence｜>"


def render(conversation: Conversation) -> str:
    """Render a conversation; thinking is off unless asked for."""
    is_thinking = conversation.is_thinking(default=False)
    messages = conversation.messages
    system = ""
    if messages and messages[0].role == "system":
        system, messages = messages[0].content, messages[1:]
    parts = [BOS]
    if is_thinking:
        parts.append("Enable deep thinking subroutine.\n\n")
    parts.append(_IDENTITY)
    if system:
        parts.append(f"\n\n{system}")
        if is_thinking:
            parts.append("\n\n")
    if conversation.tools:
        parts.append("\nYou have the following functions available:\n")
        parts += [
            f"```json\n{jsontext.format_indented(jsontext.tool_object(tool))}\n```\n"
            for tool in conversation.tools
        ]
    has_marker = False
    for i, message in enumerate(messages):
        if message.role == "user":
            parts.append(f"<｜User｜>{message.content}{_ASSISTANT}")
        elif message.role == "assistant":
            parts.append(f"{message.content}{_calls(message)}{_END}")
        elif message.role == "tool":
            parts.append("<｜tool▁outputs▁begin｜>" if is_run_start(messages, i) else "\n")
            parts.append(f"<｜tool▁output▁begin｜>{message.content}<｜tool▁output▁end｜>")
            if is_run_end(messages, i):
                parts.append("<｜tool▁outputs▁end｜>")
        else:
            continue
        has_marker = message.role == "user"
    if not has_marker:
        parts.append(_ASSISTANT)
    if is_thinking:
        parts.append("<think>\n")
    return "".join(parts)


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    calls = "\n".join(_format_call(call) for call in message.tool_calls)
    return f"<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>"


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.format_json(jsontext.arguments_object(call.arguments))
    return f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{call.name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
