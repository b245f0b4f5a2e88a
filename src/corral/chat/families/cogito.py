"""Cogito: the identity text always comes first, only a leading system message counts, no prefill.

A user turn is always followed by the assistant marker, so an answer has no marker. Calls and their results stand
between DeepSeek's tags. Ollama: model/renderers/cogito.go, model/parsers/cogito.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.deepseek import (
    ASSISTANT,
    BOS,
    CLOSE_CALL,
    CLOSE_CALLS,
    CLOSE_OUTPUT,
    CLOSE_OUTPUTS,
    END,
    OPEN_CALL,
    OPEN_CALLS,
    OPEN_OUTPUT,
    OPEN_OUTPUTS,
    SEPARATOR,
    TOKENS,
    USER,
    create_deepseek3,
)
from corral.chat.families.family import Family, Parser, Renderer
from corral.chat.parsing.call_forms import CallForm, json_call
from corral.chat.parsing.events import OutputParser
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, is_run_end, is_run_start
from corral.types import Message, Think, Tool, ToolCall

# --- prompts -----------------------------------------------------------------------------------------------

_IDENTITY = (
    "You are Cogito, an AI assistant created by Deep Cogito, "
    "which is an AI research lab based in San Francisco."
)


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
            parts.append(f"{USER}{message.content}{ASSISTANT}")
        elif message.role == "assistant":
            parts.append(f"{message.content}{_calls(message)}{END}")
        elif message.role == "tool":
            parts.append(OPEN_OUTPUTS if is_run_start(messages, i) else "\n")
            parts.append(OPEN_OUTPUT + message.content + CLOSE_OUTPUT)
            if is_run_end(messages, i):
                parts.append(CLOSE_OUTPUTS)
        else:
            continue
        has_marker = message.role == "user"
    if not has_marker:
        parts.append(ASSISTANT)
    if is_thinking:
        parts.append(f"{marks.OPEN_THINK}\n")
    return "".join(parts)


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    calls = "\n".join(_format_call(call) for call in message.tool_calls)
    return OPEN_CALLS + calls + CLOSE_CALLS


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.format_json(jsontext.arguments_object(call.arguments))
    return f"{OPEN_CALL}function{SEPARATOR}{call.name}\n```json\n{arguments}\n```{CLOSE_CALL}"


# --- the family --------------------------------------------------------------------------------------------


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> OutputParser:
    """The model does not think when it has tools."""
    return create_deepseek3(tools, last_message, think and not tools)


FAMILY = Family(
    renderers=(Renderer("cogito", render, BOS),),
    parsers=(
        Parser(
            "cogito",
            _create,
            (*TOKENS, OPEN_OUTPUTS, CLOSE_OUTPUTS),
            CallForm(
                json_call(f"{OPEN_CALL}function{SEPARATOR}", "\n```json\n", f"\n```{CLOSE_CALL}"),
                (OPEN_CALLS,),
                OPEN_CALLS,
                CLOSE_CALLS,
                "\n",
            ),
            has_thinking=True,
        ),
    ),
)
