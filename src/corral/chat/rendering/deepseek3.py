"""DeepSeek-V3.1: system messages joined in front, then the tools; no prefill and no marker after a tool result.

Only the first answer after a user's text gets an assistant marker. Thinking inside an answer's text is dropped.
Source: ollama: model/renderers/deepseek3.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Tool, ToolCall

BOS = "<｜begin▁of▁sentence｜>"
_ASSISTANT = "<｜Assistant｜>"
_END = "<｜end▁of▁sentence｜>"
_CALL_FORMAT = """
IMPORTANT: ALWAYS adhere to this exact format for tool use:
<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>\
{{additional_tool_calls}}<｜tool▁calls▁end｜>

Where:

- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""


def render(conversation: Conversation) -> str:
    """Render a conversation; thinking is off unless asked for."""
    is_thinking = conversation.is_thinking(default=False)
    messages = conversation.messages
    parts = [BOS, "\n\n".join(m.content for m in messages if m.role == "system")]
    if conversation.tools:
        parts.append(_tools_section(conversation.tools))
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    previous = ""  # role of the last message that was shown
    for i, message in enumerate(messages):
        if message.role == "user":
            parts.append(f"<｜User｜>{message.content}")
        elif message.role == "tool":
            parts.append(f"<｜tool▁output▁begin｜>{message.content}<｜tool▁output▁end｜>")
        elif message.role == "assistant":
            if previous == "user":
                opens_thinking = is_thinking and message.thinking and i > last_user and not message.tool_calls
                parts.append(_ASSISTANT + ("<think>" if opens_thinking else "</think>"))
            parts.append(_answer(message, follows_tool=previous == "tool"))
        else:
            continue
        previous = message.role
    if previous == "user":
        parts.append(_ASSISTANT + ("<think>" if is_thinking else "</think>"))
    return "".join(parts)


def _tools_section(tools: Sequence[Tool]) -> str:
    parts = ["\n\n## Tools\nYou have access to the following tools:\n"]
    for tool in tools:
        function = tool.function
        parameters = jsontext.format_json(jsontext.parameters_object(function))
        parts.append(
            f"\n### {function.name}\nDescription: {function.description}\n\nParameters: {parameters}\n"
        )
    parts.append(_CALL_FORMAT)
    return "".join(parts)


def _answer(message: Message, *, follows_tool: bool) -> str:
    if message.tool_calls:
        calls = "".join(_format_call(call) for call in message.tool_calls)
        return f"{message.content}<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>{_END}"
    _, tag, after = message.content.partition("</think>")
    return (message.content if follows_tool or not tag else after) + _END


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.format_json(jsontext.arguments_object(call.arguments))
    return f"<｜tool▁call▁begin｜>{call.name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"
