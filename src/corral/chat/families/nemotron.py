"""Nemotron 3 Nano and 3.5 Nano: a system turn always, tools in XML, values in Python's spelling, no prefill.

Thinking of answers before the last user message is emptied to `<think></think>`. Nemotron 3 obeys `/think` and
`/no_think` in user and system texts and removes them; 3.5 leaves texts alone and knows a medium effort.
Ollama: model/renderers/nemotron3nano.go, model/parsers/nemotron3nano.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corral.chat import marks
from corral.chat.families.family import SWITCH, CreateDefault, Family, Parser, Renderer
from corral.chat.parsing.call_forms import XML_IN_TAGS
from corral.chat.parsing.qwen import TOKENS, create_thinking
from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation, is_run_end, is_run_start, trim
from corral.golang.quote import quoted
from corral.types import Message, Tool, ToolProperty

# --- prompts -----------------------------------------------------------------------------------------------

_NO_THINKING = marks.OPEN_THINK + marks.CLOSE_THINK
_MEDIUM_EFFORT = "\n\n{reasoning effort: efficient}"


@dataclass(frozen=True, slots=True)
class _Version:
    has_toggles: bool
    thinking_end: str

    def text(self, content: str) -> str:
        """A user or system text as it is shown."""
        if not self.has_toggles:
            return content
        pieces = content.split(marks.CLOSE_THINK)
        return marks.CLOSE_THINK.join(
            piece.replace("/think", "").replace("/no_think", "") for piece in pieces
        )


_NEMOTRON_3 = _Version(has_toggles=True, thinking_end=f"\n{marks.CLOSE_THINK}\n")
_NEMOTRON_3_5 = _Version(has_toggles=False, thinking_end=marks.CLOSE_THINK)


def _render_3(conversation: Conversation) -> str:
    """Render for Nemotron 3 Nano."""
    is_thinking = conversation.is_thinking(default=True)
    for message in conversation.messages:
        if message.role in {"user", "system"}:
            if "/think" in message.content.replace(marks.CLOSE_THINK, ""):
                is_thinking = True
            elif "/no_think" in message.content:
                is_thinking = False
    return _render(conversation, _NEMOTRON_3, is_thinking)


def _render_3_5(conversation: Conversation) -> str:
    """Render for Nemotron 3.5 Nano."""
    return _render(conversation, _NEMOTRON_3_5, conversation.is_thinking(default=True))


def _render(conversation: Conversation, version: _Version, is_thinking: bool) -> str:
    messages = conversation.messages
    system = ""
    if messages and messages[0].role == "system":
        system, messages = version.text(messages[0].content), messages[1:]
    if conversation.tools:
        system += ("\n\n" if system else "") + _tools_section(conversation.tools)
    parts = [chatml.format_turn("system", system)]
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    for i, message in enumerate(messages):
        if message.role == "assistant":
            parts.append(chatml.format_turn("assistant", _answer(message, version, is_old=i < last_user)))
        elif message.role in {"user", "system"}:
            text = version.text(message.content)
            if version.has_toggles:
                text = trim(text)
            elif i == last_user and conversation.think == "medium":
                text += _MEDIUM_EFFORT
            parts.append(chatml.format_turn(message.role, text))
        elif message.role == "tool":
            if i > 0 and is_run_start(messages, i):  # none in front of everything: models saw it so
                parts.append(f"{chatml.OPEN}user\n")
            parts.append(f"{marks.OPEN_RESPONSE}\n{message.content}\n{marks.CLOSE_RESPONSE}\n")
            if is_run_end(messages, i):
                parts.append(chatml.CLOSE)
        else:
            parts.append(chatml.format_turn(message.role, message.content))
    parts.append(f"{chatml.OPEN}assistant\n{marks.OPEN_THINK + chr(10) if is_thinking else _NO_THINKING}")
    return "".join(parts)


def _answer(message: Message, version: _Version, *, is_old: bool) -> str:
    content = _thinking_and_content(message, version)
    if not message.tool_calls:
        if is_old and marks.OPEN_THINK in content and marks.CLOSE_THINK in content:
            content = _NO_THINKING + content.rpartition(marks.CLOSE_THINK)[2]
        return trim(content)
    calls = "".join(f"{chatml.format_call(call, _format_argument)}\n" for call in message.tool_calls)
    if not trim(content):
        return _NO_THINKING + calls
    if not is_old:
        return f"{trim(content)}\n{calls}"
    if marks.CLOSE_THINK in content:
        content = content.rpartition(marks.CLOSE_THINK)[2]
    else:
        content = content.partition(marks.OPEN_THINK)[0]
    if version.has_toggles:
        content = trim(content)
    return f"{_NO_THINKING}{content}\n{calls}"


def _thinking_and_content(message: Message, version: _Version) -> str:
    thinking = message.thinking if version.has_toggles else message.thinking and trim(message.thinking)
    if thinking:
        return f"{marks.OPEN_THINK}\n{message.thinking}{version.thinking_end}{message.content}"
    if marks.OPEN_THINK not in message.content and marks.CLOSE_THINK not in message.content:
        return _NO_THINKING + message.content
    return message.content


def _tools_section(tools: Sequence[Tool]) -> str:
    functions = "".join(_format_tool(tool) for tool in tools)
    return f"{chatml.FUNCTIONS_INTRODUCTION}{functions}\n{marks.CLOSE_TOOLS}{chatml.CALL_FORMAT}"


def _format_tool(tool: Tool) -> str:
    function = tool.function
    parameters = function.parameters
    parts = [f"\n<function>\n<name>{function.name}</name>"]
    if function.description:
        parts.append(f"\n<description>{trim(function.description)}</description>")
    parts.append("\n<parameters>")
    parts += [_format_parameter(name, prop) for name, prop in (parameters.properties or {}).items()]
    if parameters.defs is not None:
        parts.append(f"\n<$defs>{_format_argument(parameters.defs)}</$defs>")
    if parameters.items is not None:
        parts.append(f"\n<items>{_format_argument(parameters.items)}</items>")
    if parameters.required:
        parts.append(f"\n<required>{_python_json(list(parameters.required))}</required>")
    parts += [f"\n<{key}>{_format_argument(value)}</{key}>" for key, value in parameters.others.items()]
    parts.append(f"\n</parameters>\n{marks.CLOSE_FUNCTION}")
    return "".join(parts)


def _format_parameter(name: str, prop: ToolProperty) -> str:
    schema = jsontext.property_object(prop)
    parts = [f"\n<parameter>\n<name>{name}</name>"]
    if len(prop.types) == 1:
        parts.append(f"\n<type>{prop.types[0]}</type>")
    elif prop.types:
        kinds = ", ".join(f"'{kind}'" for kind in prop.types)
        parts.append(f"\n<type>[{kinds}]</type>")
    if prop.description:
        parts.append(f"\n<description>{trim(prop.description)}</description>")
    keys = (key for key in ("enum", "anyOf", "items", "properties", "required") if key in schema)
    parts += [f"\n<{key}>{_python_json(schema[key])}</{key}>" for key in keys]
    parts += [f"\n<{key}>{_format_argument(value)}</{key}>" for key, value in prop.others.items()]
    parts.append(f"\n{marks.CLOSE_PARAMETER}")
    return "".join(parts)


def _format_argument(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, dict | list):
        return _python_json(jsontext.sorted_value(value))
    return jsontext.format_value(value)


def _python_json(value: Any) -> str:
    """JSON with spaces; strings in Go's quoted form, which escapes only what cannot be printed."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(name)}: {_python_json(v)}' for name, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_python_json(element) for element in value)}]"
    return jsontext.format_json(value)


# --- the family --------------------------------------------------------------------------------------------

FAMILY = Family(
    renderers=(
        Renderer("nemotron-3-nano", _render_3, has_image_tags=True),
        Renderer("nemotron-3.5-nano", _render_3_5, has_image_tags=True, think_values=(*SWITCH, "medium")),
    ),
    parsers=tuple(
        Parser(name, create_thinking, TOKENS, XML_IN_TAGS, has_thinking=True)
        for name in ("nemotron-3-nano", "nemotron-3.5-nano")
    ),
    create_default=CreateDefault(
        ("nemotron_h", "nemotron_h_moe", "nemotron_h_omni"), "nemotron-3-nano", "nemotron-3-nano"
    ),
)
