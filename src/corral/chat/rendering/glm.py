"""GLM-4.7 and GLM-OCR: tools in a system block of their own before all messages, calls in XML, no prefill.

Thinking of earlier answers is always shown. Roles other than the four known ones are dropped.
Source: ollama: model/renderers/glm47.go, glmocr.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, is_run_start, trim
from corral.types import Message, Tool, ToolCall

_START = "[gMASK]<sop>"
_TOOLS_INTRODUCTION = """<|system|>
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_CALL_FORMAT = (
    "</tools>\n\nFor each function call, output the function name and arguments within the following XML format:\n"
    "<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value>"
    "<arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>"
)
_NO_THINK = "/nothink"


def render_4_7(conversation: Conversation) -> str:
    """Render for GLM-4.7, which thinks unless told not to."""
    messages = conversation.messages
    parts = [_START, _tools_section(conversation.tools)]
    for i, message in enumerate(messages):
        if message.role in {"system", "user"}:
            parts.append(f"<|{message.role}|>{message.content}")
        elif message.role == "assistant":
            thinking = f"<think>{message.thinking}" if message.thinking else ""
            calls = "".join(_format_call(call) for call in message.tool_calls)
            parts.append(f"<|assistant|>{thinking}</think>{message.content}{calls}")
        elif message.role == "tool":
            opening = "<|observation|>" if is_run_start(messages, i) else ""
            parts.append(f"{opening}<tool_response>{message.content}</tool_response>")
    parts.append("<|assistant|>" + ("<think>" if conversation.is_thinking(default=True) else "</think>"))
    return "".join(parts)


def render_ocr(conversation: Conversation) -> str:
    """Render for GLM-OCR, which decides itself whether to think unless told not to."""
    messages = conversation.messages
    must_not_think = conversation.think is False
    parts = [_START, _tools_section(conversation.tools)]
    for i, message in enumerate(messages):
        if message.role == "system":
            parts.append(f"<|system|>\n{message.content}\n")
        elif message.role == "user":
            suffix = _NO_THINK if must_not_think and not message.content.endswith(_NO_THINK) else ""
            parts.append(f"<|user|>\n{message.content}{suffix}")
        elif message.role == "assistant":
            parts.append(f"<|assistant|>\n{_ocr_answer(message)}\n")
        elif message.role == "tool":
            opening = "<|observation|>" if is_run_start(messages, i) else ""
            parts.append(f"{opening}\n<tool_response>\n{message.content}\n</tool_response>\n")
    parts.append("<|assistant|>\n" + ("<think></think>\n" if must_not_think else ""))
    return "".join(parts)


def _ocr_answer(message: Message) -> str:
    content = f"\n{trim(message.content)}" if message.content else ""
    calls = "".join(f"\n{_format_call(call)}" for call in message.tool_calls)
    return f"<think>{trim(message.thinking)}</think>{content}{calls}"


def _tools_section(tools: Sequence[Tool]) -> str:
    if not tools:
        return ""
    lines = "".join(jsontext.format_spaced(jsontext.tool_object(tool)) + "\n" for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{lines}{_CALL_FORMAT}"


def _format_call(call: ToolCall) -> str:
    arguments = "".join(
        f"<arg_key>{name}</arg_key><arg_value>{jsontext.format_bare(value)}</arg_value>"
        for name, value in call.arguments.items()
    )
    return f"<tool_call>{call.name}{arguments}</tool_call>"
