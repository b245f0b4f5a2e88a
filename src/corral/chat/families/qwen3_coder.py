"""Qwen3-Coder: tools and calls in XML, one system turn.

The first system message with text wins and the others are dropped; a system turn is invented when there are tools.
Ollama: model/renderers/qwen3coder.go, model/parsers/qwen3coder.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import XML_IN_TAGS
from corral.chat.parsing.qwen import create_plain
from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Tool, ToolProperty

# --- prompts -----------------------------------------------------------------------------------------------

_DEFAULT_SYSTEM = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."


def _render(conversation: Conversation) -> str:
    """Render a conversation."""
    system = next((m.content for m in conversation.messages if m.role == "system" and m.content), "")
    messages = [m for m in conversation.messages if m.role != "system"]
    parts: list[str] = []
    if conversation.tools:
        parts.append(
            chatml.format_turn("system", (system or _DEFAULT_SYSTEM) + _tools_section(conversation.tools))
        )
    elif system:
        parts.append(chatml.format_turn("system", system))
    is_prefill = bool(messages) and messages[-1].role == "assistant"
    for i, message in enumerate(messages):
        if message.role == "tool":
            parts.append(chatml.format_tool_result(messages, i, message.content))
        elif message.role == "assistant" and message.tool_calls:
            parts.append(chatml.format_turn("assistant", _content_and_calls(message)))
        elif is_prefill and i == len(messages) - 1:
            parts.append(f"{chatml.OPEN}assistant\n{message.content}")
        else:
            parts.append(chatml.format_turn(message.role, message.content))
    if messages and not is_prefill:
        parts.append(f"{chatml.OPEN}assistant\n")
    return "".join(parts)


def _content_and_calls(message: Message) -> str:
    content = f"{message.content}\n" if message.content else ""
    return content + "".join(f"\n{chatml.format_call(call)}" for call in message.tool_calls)


def _tools_section(tools: Sequence[Tool]) -> str:
    functions = "".join(_format_tool(tool) for tool in tools)
    return f"\n\n{chatml.FUNCTIONS_INTRODUCTION}{functions}\n{marks.CLOSE_TOOLS}{chatml.CALL_FORMAT}"


def _format_tool(tool: Tool) -> str:
    function = tool.function
    parts = [f"\n<function>\n<name>{function.name}</name>"]
    if function.description:
        parts.append(f"\n<description>{function.description}</description>")
    parts.append("\n<parameters>")
    parts += [_format_parameter(name, prop) for name, prop in (function.parameters.properties or {}).items()]
    schema = jsontext.parameters_object(function)
    parts += [_format_key(key, value) for key, value in schema.items() if key not in {"type", "properties"}]
    parts.append(f"\n</parameters>\n{marks.CLOSE_FUNCTION}")
    return "".join(parts)


def _format_parameter(name: str, prop: ToolProperty) -> str:
    parts = [f"\n<parameter>\n<name>{name}</name>"]
    if prop.types:
        parts.append(f"\n<type>{jsontext.format_type(prop.types)}</type>")
    if prop.description:
        parts.append(f"\n<description>{prop.description}</description>")
    schema = jsontext.property_object(prop)
    parts += [_format_key(key, value) for key, value in schema.items() if key not in {"type", "description"}]
    parts.append(f"\n{marks.CLOSE_PARAMETER}")
    return "".join(parts)


def _format_key(key: str, value: Any) -> str:
    return f"\n<{key}>{chatml.format_argument(value)}</{key}>"


# --- the family --------------------------------------------------------------------------------------------

FAMILY = Family(
    renderers=(Renderer("qwen3-coder", _render),),
    parsers=(Parser("qwen3-coder", create_plain, marks.CALL, XML_IN_TAGS),),
    signs=(Sign((marks.FUNCTION, marks.PARAMETER), "qwen3-coder"),),
)
