"""Gemma 4: turns of `user` and `model`, thinking in channels, tool results folded into the model's turn.

A model is small or large: a large one that does not think gets an empty thought. Answers in a row continue one turn,
calls and their results come before the text of the answer, results without a call are not shown.
Source: ollama: model/renderers/gemma4.go; the declarations are in `gemma4_tools`.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.rendering.conversation import Conversation, trim
from corral.chat.rendering.gemma4_tools import QUOTE, format_declaration
from corral.chat.rendering.gemma_values import format_arguments
from corral.types import Message

BOS = "<bos>"
_CLOSE = "<turn|>\n"
_LARGE_PARAMETERS = 12_000_000_000


def render(conversation: Conversation) -> str:
    """Render for the size that the model's name tells, or else its parameter count."""
    return _render(
        conversation, is_large=_is_large(conversation.model_name.lower(), conversation.parameter_count)
    )


def render_small(conversation: Conversation) -> str:
    """Render for E2B and E4B."""
    return _render(conversation, is_large=False)


def render_large(conversation: Conversation) -> str:
    """Render for 12B and up."""
    return _render(conversation, is_large=True)


def _is_large(name: str, parameter_count: int) -> bool:
    if "e2b" in name or "e4b" in name:
        return False
    return any(size in name for size in ("12b", "26b", "31b")) or parameter_count >= _LARGE_PARAMETERS


def _render(conversation: Conversation, *, is_large: bool) -> str:
    is_thinking = conversation.is_thinking(default=False)
    messages = conversation.messages
    parts = [BOS]
    system = None
    if messages and messages[0].role in {"system", "developer"}:
        system, messages = messages[0].content, messages[1:]
    if system is not None or conversation.tools or is_thinking:
        thinking = "<|think|>\n" if is_thinking else ""
        declarations = "".join(format_declaration(tool) for tool in conversation.tools)
        parts.append(f"<|turn>system\n{thinking}{trim(system or '')}{declarations}{_CLOSE}")
    last_user = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    turns = [i for i, m in enumerate(messages) if m.role != "tool"]
    for position, i in enumerate(turns):
        is_continued = position + 1 < len(turns) and messages[turns[position + 1]].role == "assistant"
        continues = position > 0 and messages[turns[position - 1]].role == "assistant"
        if messages[i].role == "assistant":
            if not continues:
                parts.append("<|turn>model\n")
            is_end = position + 1 == len(turns)
            parts.append(_answer(messages, i, is_old=i < last_user, is_continued=is_continued, is_end=is_end))
        else:
            parts.append(f"<|turn>{messages[i].role}\n{trim(messages[i].content)}{_CLOSE}")
    last = turns[-1] if turns else -1
    if not turns or not messages[last].tool_calls:
        parts.append("<|turn>model\n")
        if is_large and not is_thinking:
            parts.append("<|channel>thought\n<channel|>")
    elif is_thinking and _results(messages, last):
        parts.append("<|channel>thought\n")
    return "".join(parts)


def _results(messages: Sequence[Message], i: int) -> Sequence[Message]:
    """The tool messages that follow message `i` directly."""
    end = i + 1
    while end < len(messages) and messages[end].role == "tool":
        end += 1
    return messages[i + 1 : end]


def _answer(messages: Sequence[Message], i: int, *, is_old: bool, is_continued: bool, is_end: bool) -> str:
    """An answer with its calls and their results; `is_end` when nothing but tool results follows it."""
    message = messages[i]
    parts = []
    if message.thinking and not is_old:
        parts.append(f"<|channel>thought\n{message.thinking}\n<channel|>")
    parts += [
        f"<|tool_call>call:{call.name}{format_arguments(call.arguments, QUOTE, 'null')}<tool_call|>"
        for call in message.tool_calls
    ]
    results = _results(messages, i) if message.tool_calls else ()
    for result in results:
        name = _result_name(result, message)
        parts.append(
            f"<|tool_response>response:{name}{{value:{QUOTE}{result.content}{QUOTE}}}<tool_response|>"
        )
    content = _without_thinking(message.content)
    parts.append(content)
    if message.tool_calls and not results:
        parts.append("<|tool_response>")
    elif not is_continued and not (results and not content and is_end):
        parts.append(_CLOSE)
    return "".join(parts)


def _result_name(result: Message, answer: Message) -> str:
    if result.tool_call_id:
        for call in answer.tool_calls:
            if call.id == result.tool_call_id:
                return call.name
    return result.tool_name or "unknown"


def _without_thinking(content: str) -> str:
    """The text without its channels; an unclosed one hides all that follows."""
    kept = []
    while content:
        before, tag, rest = content.partition("<|channel>")
        kept.append(before)
        content = rest.partition("<channel|>")[2] if tag else ""
    return trim("".join(kept))
