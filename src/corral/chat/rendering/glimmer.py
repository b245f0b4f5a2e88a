"""Glimmer: messages with recipients, thinking sent to `self`, calls in ATEM blocks, no prefill.

Every system message carries the reasoning strength, the tools and the recipients; without one a default text with the
date is written. The text of an answer that calls tools is not shown. Source: ollama: model/renderers/glimmer.go.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Think, Tool, ToolCall

BOS = "<|begin_of_text|>"
_END_OF_MESSAGE = "<|eom|>"
_END_OF_TURN = "<|eot|>"
_DEFAULT_SYSTEM = "You are a helpful AI assistant.\nKnowledge cutoff: 2026-01-04.\nCurrent date: {today}."
_TOOLS_INTRODUCTION = """\
In this environment you have access to a set of tools you can use to answer the user's question.

You can invoke a function by writing a "<atem:function_calls>" block like the following:
<atem:function_calls>
<atem:invoke name="$FUNCTION_NAME">
<atem:parameter name="$PARAMETER_NAME">$PARAMETER_VALUE</atem:parameter>
...
</atem:invoke>
</atem:function_calls>

String and scalar parameters should be specified as is, while lists and objects should use JSON format. \
Note that spaces for string values are not stripped. \
The output is not expected to be valid XML and is parsed with regular expressions.
Here are the functions available in JSONSchema format:
// Tool metadata
"""
_CALL_EXAMPLE = """

Here's an example of how to call a function in the tool set:
(If the tool namespace is not specified, invoke the function directly as `example_function_name` rather than \
`example_tool_name.example_function_name`)

to=example_tool_name.example_function_name

<atem:function_calls>
<atem:invoke name="example_tool_name.example_function_name">
<atem:parameter name="example_parameter_1">value_1</atem:parameter>
<atem:parameter name="example_parameter_2">This is the value for the second parameter
that can span
"multiple" lines
</atem:parameter>
</atem:invoke>
</atem:function_calls>"""


def render(conversation: Conversation) -> str:
    """Render a conversation; thinking is strong unless a level or `False` is given."""
    messages = conversation.messages
    suffix = _system_suffix(conversation.tools, conversation.think)
    parts = [BOS]
    if not any(message.role == "system" for message in messages):
        parts.append(_format_message("system", _default_system(conversation.today) + suffix))
    call_names = {call.id: call.name for message in messages for call in message.tool_calls}
    for i, message in enumerate(messages):
        if message.role == "system":
            parts.append(_format_message("system", message.content + suffix))
        elif message.role == "user":
            parts.append(_format_message("user", message.content))
        elif message.role == "tool":
            name = message.tool_name or (
                message.tool_call_id and call_names.get(message.tool_call_id, message.tool_call_id)
            )
            output = f'<tool_output name="{name}">\n{message.content}\n</tool_output>'
            parts.append(_format_message(f"tool {name}", output))
        elif message.role == "assistant":
            is_continued = i + 1 < len(messages) and messages[i + 1].role == "assistant"
            parts.append(_answer(message, _END_OF_MESSAGE if is_continued else _END_OF_TURN))
    parts.append("<|start|>assistant")
    return "".join(parts)


def _format_message(header: str, content: str, end: str = _END_OF_TURN) -> str:
    return f"<|start|>{header}<|message|>{content}{end}"


def _default_system(today: datetime.date) -> str:
    return _DEFAULT_SYSTEM.format(today=today.isoformat())


def _system_suffix(tools: Sequence[Tool], think: Think) -> str:
    """What follows every system text: the same for all, so built once."""
    strength = "none" if think is False else think if isinstance(think, str) else "high"
    namespaces = list(dict.fromkeys(tool.function.name.partition(".")[0] for tool in tools))
    recipients = "".join(f', "{namespace}.*"' for namespace in namespaces)
    definitions = f"\n\n{_tool_definitions(tools, namespaces)}" if tools else ""
    return (
        f'\n\nReasoning strength: {strength}.{definitions}\n\n# Valid recipients: "self"{recipients}, "user".'
    )


def _tool_definitions(tools: Sequence[Tool], namespaces: Sequence[str]) -> str:
    metadata = "".join(_json({"name": namespace, "description": ""}) + "\n" for namespace in namespaces)
    schemas = "".join("\n" + _format_tool(tool) for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{metadata}// Function schemas{schemas}{_CALL_EXAMPLE}"


def _format_tool(tool: Tool) -> str:
    function = tool.function
    parameters = jsontext.parameters_object(function)
    return _json({"name": function.name, "description": function.description, "parameters": parameters})


def _answer(message: Message, end: str) -> str:
    thinking = (
        _format_message("assistant to=self", message.thinking, _END_OF_MESSAGE) if message.thinking else ""
    )
    if message.tool_calls:
        ends = [_END_OF_MESSAGE] * (len(message.tool_calls) - 1) + [end]
        calls = zip(message.tool_calls, ends, strict=True)
        return thinking + "".join(
            _format_message(f"assistant to={c.name}", _format_call(c), e) for c, e in calls
        )
    if message.content or not message.thinking:
        return thinking + _format_message("assistant to=user", message.content)
    return thinking


def _format_call(call: ToolCall) -> str:
    parameters = "".join(
        f'<atem:parameter name="{name}">{_format_argument(value)}</atem:parameter>\n'
        for name, value in call.arguments.items()
    )
    invoke = f'<atem:invoke name="{call.name}">\n{parameters}</atem:invoke>'
    return f"<atem:function_calls>\n{invoke}\n</atem:function_calls>"


def _format_argument(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return _json(jsontext.sorted_value(value))
    return jsontext.format_value(value)


def _json(value: Any) -> str:
    return jsontext.format_json(value, is_spaced=True, is_escaped=False)
