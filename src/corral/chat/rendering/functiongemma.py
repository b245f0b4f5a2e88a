"""FunctionGemma: a `developer` turn for instructions and tools, strings between `<escape>`.

The name of a tool result is that of the call at its place in the last answer with calls. After tool results the
model's turn stays open, and a following text of whatever side is appended without a header: models saw it so.
Source: ollama: model/renderers/functiongemma.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering.conversation import Conversation, trim
from corral.chat.rendering.gemma_values import format_arguments
from corral.chat.toolschema import resolved_parameters
from corral.types import Message, Tool, ToolProperty

BOS = "<bos>"
_QUOTE = "<escape>"
_OPEN = "<start_of_turn>"
_CLOSE = "<end_of_turn>\n"
_INTRODUCTION = "You can do function calling with the following functions:"


def render(conversation: Conversation) -> str:
    """Render a conversation."""
    messages = conversation.messages
    system = ""
    if messages and messages[0].role in {"system", "developer"}:
        system, messages = messages[0].content, messages[1:]
    parts = [BOS]
    if system or conversation.tools:
        parts.append(f"{_OPEN}developer\n{trim(system)}{_tools_section(conversation.tools, system)}{_CLOSE}")
    follows_response = False  # the model's turn is open behind a tool result
    for i, message in enumerate(messages):
        if message.role == "tool":
            if not _is_answer_to_call(messages, i):
                parts.append("<start_function_response>")
            name = _called_name(messages, i)
            parts.append(f"response:{name}{{{_QUOTE}{message.content}{_QUOTE}}}<end_function_response>")
            follows_response = True
        elif message.role in {"user", "assistant"}:
            if not follows_response:
                parts.append(f"{_OPEN}{'user' if message.role == 'user' else 'model'}\n")
            follows_response = False
            parts.append(trim(message.content))
            calls = message.tool_calls if message.role == "assistant" else ()
            parts += [
                f"<start_function_call>call:{call.name}{format_arguments(call.arguments, _QUOTE, '<nil>')}"
                "<end_function_call>"
                for call in calls
            ]
            has_response = calls and i + 1 < len(messages) and messages[i + 1].role == "tool"
            parts.append("<start_function_response>" if has_response else _CLOSE)
        else:
            parts.append(f"{_OPEN}{message.role}\n{trim(message.content)}{_CLOSE}")
    if not follows_response:
        parts.append(f"{_OPEN}model\n")
    return "".join(parts)


def _is_answer_to_call(messages: Sequence[Message], i: int) -> bool:
    """Whether the response marker stands already behind the calls of the message before."""
    return i > 0 and messages[i - 1].role == "assistant" and bool(messages[i - 1].tool_calls)


def _called_name(messages: Sequence[Message], i: int) -> str:
    place = 0
    for earlier in reversed(messages[:i]):
        if earlier.role == "tool":
            place += 1
        elif earlier.role == "assistant" and earlier.tool_calls:
            return earlier.tool_calls[place].name if place < len(earlier.tool_calls) else ""
    return ""


def _tools_section(tools: Sequence[Tool], system: str) -> str:
    if not tools:
        return ""
    introduction = "" if trim(system) == _INTRODUCTION else _INTRODUCTION
    return ("\n" if system else "") + introduction + "".join(_declaration(tool) for tool in tools)


def _declaration(tool: Tool) -> str:
    function = tool.function
    parameters = resolved_parameters(function.parameters)
    fields = [f"description:{_QUOTE}{function.description}{_QUOTE}"]
    if parameters.properties is not None or parameters.type:
        schema = []
        if parameters.properties:
            properties = ",".join(
                _property(name, parameters.properties[name]) for name in sorted(parameters.properties)
            )
            schema.append(f"properties:{{{properties}}}")
        if parameters.required:
            schema.append(f"required:[{','.join(_QUOTE + name + _QUOTE for name in parameters.required)}]")
        if parameters.type:
            schema.append(f"type:{_QUOTE}{parameters.type.upper()}{_QUOTE}")
        fields.append(f"parameters:{{{','.join(schema)}}}")
    return f"<start_function_declaration>declaration:{function.name}{{{','.join(fields)}}}<end_function_declaration>"


def _property(name: str, prop: ToolProperty) -> str:
    kind = f",type:{_QUOTE}{prop.types[0].upper()}{_QUOTE}" if prop.types else ""
    return f"{name}:{{description:{_QUOTE}{prop.description}{_QUOTE}{kind}}}"
