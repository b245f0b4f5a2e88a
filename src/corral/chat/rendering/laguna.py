"""Laguna and Poolside v1: turns in plain tags, calls with argument keys and values.

A system text is invented unless a system message comes first, even an empty one. Laguna opens every answer with its
thinking, or with a bare `</think>`; Poolside v1 is the same without line breaks, shows earlier thinking only while
thinking is on and has no prefill. Source: ollama: model/renderers/laguna.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, trim, trim_right
from corral.types import Message, Tool, ToolCall

BOS = "〈|EOS|〉"
_DEFAULT_SYSTEM = (
    "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be helpful to users "
    "through natural language conversations."
)
_TOOLS_INTRODUCTION = """### Tools

You may call functions to assist with the user query.
All available function signatures are listed below:
<available_tools>
"""
_THINKING_FORMAT = "Wrap your thinking in '<think>', '</think>' tags, followed by a function call. "
_CALL_FORMAT = (
    "For each function call, return an unescaped XML-like object with function name and arguments within "
    "'<tool_call>' and '</tool_call>' tags, like here:\n"
)
_CALL_EXAMPLE = """<tool_call>function-name
<arg_key>argument-key</arg_key>
<arg_value>value-of-argument-key</arg_value>
</tool_call>"""


def render(conversation: Conversation) -> str:
    """Render for Laguna; thinking is off unless asked for."""
    is_thinking = conversation.is_thinking(default=False)
    system, messages = _split_system(conversation.messages)
    parts = [BOS]
    if system or conversation.tools:
        text = f"\n{system}" if system else ""
        parts.append(f"<system>\n{text}{_laguna_tools(conversation.tools, is_thinking)}\n</system>\n")
    for message in messages:
        if message.role in {"user", "system"}:
            parts.append(f"<{message.role}>\n{message.content}\n</{message.role}>\n")
        elif message.role == "tool":
            parts.append(f"<tool_response>\n{message.content}\n</tool_response>\n")
        elif message.role == "assistant":
            parts.append(f"<assistant>\n{_laguna_answer(message)}</assistant>\n")
    if not conversation.is_prefill:
        parts.append("<assistant>\n" + ("<think>" if is_thinking else "</think>"))
    elif _is_started(conversation.messages[-1]):
        parts[-1] = parts[-1].removesuffix("</assistant>\n")
    return "".join(parts)


def render_poolside_v1(conversation: Conversation) -> str:
    """Render for Poolside v1; thinking is off unless asked for."""
    is_thinking = conversation.is_thinking(default=False)
    system, messages = _split_system(conversation.messages)
    parts = [BOS]
    if system or conversation.tools or is_thinking:
        tools = _tools_section(conversation.tools) if conversation.tools else ""
        gap = "\n\n" if system and tools else ""
        parts.append(f"<system>{system}{gap}{tools}</system>\n")
    for message in messages:
        if message.role in {"user", "system"}:
            parts.append(f"<{message.role}>{message.content}</{message.role}>\n")
        elif message.role == "tool":
            parts.append(f"<tool_response>{message.content}</tool_response>\n")
        elif message.role == "assistant":
            thinking = f"<think>{message.thinking}" if is_thinking else ""
            calls = "".join(_format_call(call, "") for call in message.tool_calls)
            parts.append(f"<assistant>{thinking}</think>{message.content}{calls}</assistant>\n")
    parts.append("<assistant>" + ("<think>" if is_thinking else "</think>"))
    return "".join(parts)


def _split_system(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system text, "" when it is blank, and the messages after it."""
    if messages and messages[0].role == "system":
        return trim_right(messages[0].content), messages[1:]
    return _DEFAULT_SYSTEM, messages


def _is_started(message: Message) -> bool:
    return bool(message.content or message.thinking or message.tool_calls)


def _tools_section(tools: Sequence[Tool]) -> str:
    lines = "".join(jsontext.format_spaced(jsontext.tool_object(tool)) + "\n" for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{lines}</available_tools>"


def _laguna_tools(tools: Sequence[Tool], is_thinking: bool) -> str:
    if not tools:
        return ""
    thinking = (_THINKING_FORMAT, "<think> your thoughts here </think>\n") if is_thinking else ("", "")
    return f"\n\n{_tools_section(tools)}\n\n{thinking[0]}{_CALL_FORMAT}{thinking[1]}{_CALL_EXAMPLE}"


def _laguna_answer(message: Message) -> str:
    thinking, content = message.thinking, message.content
    if "</think>" in content:
        before, _, content = content.rpartition("</think>")
        thinking = thinking or before.partition("</think>")[0].rpartition("<think>")[2]
    block = f"<think>\n{trim(thinking)}\n</think>\n" if thinking else "</think>\n"
    text = f"{shown}\n" if (shown := trim(content)) else ""
    return block + text + "".join(_format_call(call, "\n") for call in message.tool_calls)


def _format_call(call: ToolCall, newline: str) -> str:
    arguments = "".join(
        f"<arg_key>{name}</arg_key>{newline}"
        f"<arg_value>{jsontext.format_bare(value, is_spaced=True)}</arg_value>{newline}"
        for name, value in call.arguments.items()
    )
    return f"<tool_call>{call.name}{newline}{arguments}</tool_call>{newline}"
