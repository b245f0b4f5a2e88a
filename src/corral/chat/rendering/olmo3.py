"""Olmo 3 and 3.1, instruct and think: one system turn always, calls as Python-like expressions.

The first system message is shown, the others are dropped. The think variants know no tools and drop tool messages;
they always think and close a trailing answer. Source: ollama: model/renderers/olmo3.go, olmo3_think.go.
"""

from __future__ import annotations

from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, ToolCall

_OLMO = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights "
    "are available at https://huggingface.co/allenai."
)
_NO_FUNCTIONS = " You do not currently have access to any functions. <functions></functions>"
_WITH_FUNCTIONS = (
    " You are provided with function signatures within <functions></functions> XML tags. You may call one or more "
    "functions to assist with the user query. Output any function calls within <function_calls></function_calls> XML "
    "tags. Do not make assumptions about what values to plug into functions."
)


def render_3(conversation: Conversation) -> str:
    """Render for Olmo 3 Instruct."""
    return _render(conversation, "You are a helpful function-calling AI assistant.")


def render_3_1(conversation: Conversation) -> str:
    """Render for Olmo 3.1 Instruct."""
    return _render(conversation, _OLMO)


def render_think(conversation: Conversation) -> str:
    """Render for Olmo 3 7B Think and 3.1 32B Think."""
    return _render_think(conversation, _OLMO)


def render_32b_think(conversation: Conversation) -> str:
    """Render for Olmo 3 32B Think."""
    return _render_think(conversation, "You are a helpful AI assistant.")


def _first_system(conversation: Conversation) -> str | None:
    return next((m.content for m in conversation.messages if m.role == "system"), None)


def _render(conversation: Conversation, default_system: str) -> str:
    system = _first_system(conversation)
    if conversation.tools:
        tools = [jsontext.tool_object(tool) for tool in conversation.tools]
        head = default_system + _WITH_FUNCTIONS if system is None else system
        head += f"<functions>{jsontext.format_spaced(tools)}</functions>"
    else:
        head = default_system + _NO_FUNCTIONS if system is None else system
    parts = [chatml.format_turn("system", head)]
    messages = [m for m in conversation.messages if m.role != "system"]
    for i, message in enumerate(messages):
        if message.role == "user":
            parts.append(chatml.format_turn("user", message.content))
        elif message.role == "tool":
            parts.append(chatml.format_turn("environment", message.content))
        elif message.role == "assistant":
            is_open = i == len(messages) - 1 and not message.tool_calls
            closing = "" if is_open else chatml.CLOSE
            parts.append(f"{chatml.OPEN}assistant\n{message.content}{_calls(message)}{closing}")
    if not (
        messages and messages[-1].role == "assistant" and messages[-1].content and not messages[-1].tool_calls
    ):
        parts.append(f"{chatml.OPEN}assistant\n")
    return "".join(parts)


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    return (
        f"<function_calls>{chr(10).join(_format_call(call) for call in message.tool_calls)}</function_calls>"
    )


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.sorted_value(call.arguments)
    return f"{call.name}({', '.join(f'{name}={jsontext.format_json(v)}' for name, v in arguments.items())})"


def _render_think(conversation: Conversation, default_system: str) -> str:
    system = _first_system(conversation)
    parts = [chatml.format_turn("system", default_system if system is None else system + _NO_FUNCTIONS)]
    parts += [
        chatml.format_turn(message.role, message.content)
        for message in conversation.messages
        if message.role in {"user", "assistant"}
    ]
    parts.append(f"{chatml.OPEN}assistant\n<think>")
    return "".join(parts)
