"""Cohere Command: the tools section always, calls and results as JSON arrays, call ids numbered anew from 0.

The text of an answer that calls tools is not shown. The odd white space is what models were trained with.
Source: ollama: model/renderers/cohere.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, is_run_end, is_run_start
from corral.types import Message, Tool

BOS = "<BOS_TOKEN>"
_OPEN = "<|START_OF_TURN_TOKEN|>"
_CLOSE = "<|END_OF_TURN_TOKEN|>"
_ANSWER_ROLES = frozenset({"assistant", "chatbot"})


def render(conversation: Conversation) -> str:
    """Render a conversation; thinking is on unless switched off."""
    messages = conversation.messages
    system = ""
    if messages and messages[0].role == "system":
        system, messages = messages[0].content, messages[1:]
    lead = f"{system}\n\n\n\n" if system else ""
    parts = [_text_turn("SYSTEM", lead + _tools_section(conversation.tools))]
    call_count = 0
    numbers: dict[str, int] = {}  # of the calls seen so far, by the client's id
    for i, message in enumerate(messages):
        if message.role in {"system", "user"}:
            parts.append(_text_turn(message.role.upper(), message.content))
        elif message.role in _ANSWER_ROLES:
            for number, call in enumerate(message.tool_calls, call_count):
                if call.id:
                    numbers.setdefault(call.id, number)
            parts.append(_answer(message, call_count))
            call_count += len(message.tool_calls)
        elif message.role == "tool":
            opening = f"{_OPEN}<|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[" if is_run_start(messages, i) else ","
            closing = f"\n\n]<|END_TOOL_RESULT|>{_CLOSE}" if is_run_end(messages, i) else ""
            result = _tool_result(
                str(numbers.get(message.tool_call_id, message.tool_call_id)), message.content
            )
            parts.append(opening + result + closing)
    if messages and messages[-1].role in _ANSWER_ROLES and not messages[-1].tool_calls:
        parts[-1] = parts[-1].removesuffix(f"<|END_TEXT|>{_CLOSE}")
    else:
        end = "" if conversation.is_thinking(default=True) else "<|END_THINKING|>"
        parts.append(f"{_OPEN}<|CHATBOT_TOKEN|><|START_THINKING|>{end}")
    return "".join(parts)


def _text_turn(role: str, content: str) -> str:
    return f"{_OPEN}<|{role}_TOKEN|><|START_TEXT|>{content}<|END_TEXT|>{_CLOSE}"


def _tools_section(tools: Sequence[Tool]) -> str:
    entries = ",\n\n".join(f"\n    {_format_tool(tool)}" for tool in tools)
    return f"# Available Tools\n```json\n[\n{entries}\n\n\n]\n```"


def _format_tool(tool: Tool) -> str:
    function = tool.function
    return jsontext.format_spaced(
        {
            "name": function.name,
            "description": function.description,
            "parameters": jsontext.parameters_object(function),
            "responses": None,
        }
    )


def _answer(message: Message, first_number: int) -> str:
    thinking = f"<|START_THINKING|>{message.thinking}<|END_THINKING|>" if message.thinking else ""
    if not message.tool_calls:
        return f"{_OPEN}<|CHATBOT_TOKEN|>{thinking}<|START_TEXT|>{message.content}<|END_TEXT|>{_CLOSE}"
    calls = ",".join(
        f'\n\n    {{"tool_call_id": "{number}", "tool_name": "{call.name}", "parameters": '
        f"{jsontext.format_spaced(jsontext.arguments_object(call.arguments))}}}"
        for number, call in enumerate(message.tool_calls, first_number)
    )
    indent = "\n            \n                "
    action = f"<|START_ACTION|>[{calls}\n\n]<|END_ACTION|>"
    return f"{_OPEN}<|CHATBOT_TOKEN|>{indent}{thinking}{action}{_CLOSE}"


def _tool_result(call_id: str, content: str) -> str:
    wrapped = jsontext.format_spaced({"content": content})
    results = f'{{\n\n            \n            "0": {wrapped}\n\n        }}'
    fields = f'"tool_call_id": "{call_id}",\n        "results": {results},\n        "is_error": null'
    return f"\n    {{\n        {fields}\n    }}"
