"""Qwen3.5, Ornith and Qwen3.8: tools as JSON before the system text, calls in XML, contents trimmed.

Qwen3.5 shows the thinking of answers after the last question only; Ornith and Qwen3.8 give every answer its block.
Qwen3.8 adds a line about effort, merges all system and developer messages and refuses a conversation without a
question. Ollama: model/renderers/qwen35.go, ornith.go, model/parsers/qwen35.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import LEVELS, Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import XML_IN_TAGS
from corral.chat.parsing.qwen import TOKENS, create_thinking
from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation, has_query_form, last_query_index, trim
from corral.errors import TemplateError
from corral.types import Message, Think, Tool

# --- prompts -----------------------------------------------------------------------------------------------

_EMPTY_THINKING = f"{marks.OPEN_THINK}\n\n{marks.CLOSE_THINK}\n\n"
_EXTRA_HIGH_EFFORT = (
    "Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, consider "
    "plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer."
)
_LOW_EFFORT = (
    "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion without "
    "unnecessary elaboration."
)


def render(conversation: Conversation) -> str:
    """Render with thinking after the last question only."""
    is_thinking = conversation.is_thinking(default=True)
    first = last_query_index(conversation.messages) + 1 if is_thinking else len(conversation.messages)
    return _render_leading_system(conversation, is_thinking, first)


def _render_ornith(conversation: Conversation) -> str:
    """Render with a thinking block in every answer."""
    return _render_leading_system(conversation, conversation.is_thinking(default=True), 0)


def _render_3_8(conversation: Conversation) -> str:
    """Render with one merged system turn.

    Raises:
        TemplateError: no messages, no question of the user, or an image in a system message.
    """
    messages = conversation.messages
    _check_qwen3_8(messages)
    sections = []
    if effort := _effort_line(conversation.think):
        sections.append(effort)
    if conversation.tools:
        sections.append(_tools_section(conversation.tools))
    sections += [text for m in messages if m.role in {"system", "developer"} and (text := trim(m.content))]
    head = chatml.format_turn("system", "\n\n".join(sections)) if sections else ""
    turns = [m for m in messages if m.role not in {"system", "developer"}]
    body = _render_turns(turns, conversation.is_thinking(default=True), 0, keeps_other_roles=True)
    return head + body


def _check_qwen3_8(messages: Sequence[Message]) -> None:
    if not messages:
        raise TemplateError("no messages provided")
    if any(m.role in {"system", "developer"} and m.images for m in messages):
        raise TemplateError("system message cannot contain images")
    if not any(m.role == "user" and has_query_form(trim(m.content)) for m in messages):
        raise TemplateError("no user query found in messages")


def _effort_line(think: Think) -> str:
    if think is None or think in ("high", "max"):
        return _EXTRA_HIGH_EFFORT
    return _LOW_EFFORT if think == "low" else ""


def _render_leading_system(conversation: Conversation, is_thinking: bool, first_thinking: int) -> str:
    messages = conversation.messages
    has_system = bool(messages) and messages[0].role == "system"
    system = trim(messages[0].content) if has_system else ""
    head = ""
    if conversation.tools:
        tools = _tools_section(conversation.tools)
        head = chatml.format_turn("system", f"{tools}\n\n{system}" if system else tools)
    elif has_system:
        head = chatml.format_turn("system", system)
    start = 1 if has_system else 0
    if len(messages) == start and messages:  # the system message stands alone
        return head + _generation_prompt(is_thinking)
    return head + _render_turns(
        messages[start:], is_thinking, first_thinking - start, keeps_other_roles=False
    )


def _tools_section(tools: Sequence[Tool]) -> str:
    lines = "".join("\n" + jsontext.format_spaced(jsontext.tool_object(tool)) for tool in tools)
    return f"{chatml.FUNCTIONS_INTRODUCTION}{lines}\n{marks.CLOSE_TOOLS}{chatml.CALL_FORMAT}"


def _generation_prompt(is_thinking: bool) -> str:
    return f"{chatml.OPEN}assistant\n{marks.OPEN_THINK + chr(10) if is_thinking else _EMPTY_THINKING}"


def _render_turns(
    messages: Sequence[Message], is_thinking: bool, first_thinking: int, *, keeps_other_roles: bool
) -> str:
    """All turns after the system turn; answers from position `first_thinking` on open with their thinking."""
    parts: list[str] = []
    for i, message in enumerate(messages):
        if message.role == "tool":
            parts.append(chatml.format_tool_result(messages, i, trim(message.content)))
        elif message.role == "assistant":
            body = _answer(
                message, has_block=i >= first_thinking, has_field=is_thinking or first_thinking <= 0
            )
            closing = "" if i == len(messages) - 1 else chatml.CLOSE
            parts.append(f"{chatml.OPEN}assistant\n{body}{closing}")
        elif keeps_other_roles or message.role in {"user", "system"}:
            parts.append(chatml.format_turn(message.role, trim(message.content)))
    if messages and messages[-1].role != "assistant":
        parts.append(_generation_prompt(is_thinking))
    return "".join(parts)


def _answer(message: Message, *, has_block: bool, has_field: bool) -> str:
    thinking, content = _split_thinking(message, has_field=has_field)
    block = f"{marks.OPEN_THINK}\n{thinking}\n{marks.CLOSE_THINK}\n\n" if has_block else ""
    calls = "\n".join(chatml.format_call(call) for call in message.tool_calls)
    gap = "\n\n" if calls and trim(content) else ""
    return f"{block}{content}{gap}{calls}"


def _split_thinking(message: Message, *, has_field: bool) -> tuple[str, str]:
    """The thinking and the rest of an answer; if it has no field, it is looked for in the text."""
    content = trim(message.content)
    if message.thinking and has_field:
        return trim(message.thinking), content
    before, tag, after = content.partition(marks.CLOSE_THINK)
    if not tag:
        return "", content
    return trim(before.rpartition(marks.OPEN_THINK)[2]), after.lstrip("\n")


# --- the family --------------------------------------------------------------------------------------------

FAMILY = Family(
    renderers=(
        Renderer("qwen3.5", render, has_image_tags=True),
        Renderer("ornith", _render_ornith, has_image_tags=True),
        Renderer("qwen3.8", _render_3_8, "", True, (False, *LEVELS), "medium"),
    ),
    parsers=tuple(
        Parser(name, create_thinking, TOKENS, XML_IN_TAGS, has_thinking=True)
        for name in ("qwen3.5", "ornith")
    ),
    signs=(Sign((marks.FUNCTION, marks.PARAMETER, marks.OPEN_THINK), "qwen3.5"),),
)
