"""Olmo 3 and 3.1, instruct and think: one system turn always, calls as Python-like expressions.

The first system message is shown, the others are dropped. The think variants know no tools and drop tool messages;
they always think and close a trailing answer. Calls that cannot be read are given back as text.
Ollama: model/renderers/olmo3.go, olmo3_think.go, model/parsers/olmo3.go, olmo3_think.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import CallForm, python_call
from corral.chat.parsing.calls import is_in_value, read_listed_calls
from corral.chat.parsing.events import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import chatml, jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Think, Tool, ToolCall

OPEN_CALLS, CLOSE_CALLS = "<function_calls>", "</function_calls>"


# --- prompts -----------------------------------------------------------------------------------------------

_OLMO = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights "
    "are available at https://huggingface.co/allenai."
)
_NO_FUNCTIONS = " You do not currently have access to any functions. <functions></functions>"
_WITH_FUNCTIONS = (
    " You are provided with function signatures within <functions></functions> XML tags. You may call one or more "
    "functions to assist with the user query. Output any function calls "
    f"within {OPEN_CALLS}{CLOSE_CALLS} XML tags. Do not make assumptions about what values to plug into functions."
)


def _render_3(conversation: Conversation) -> str:
    """Render for Olmo 3 Instruct."""
    return _render(conversation, "You are a helpful function-calling AI assistant.")


def _render_3_1(conversation: Conversation) -> str:
    """Render for Olmo 3.1 Instruct."""
    return _render(conversation, _OLMO)


def _render_7b_think(conversation: Conversation) -> str:
    """Render for Olmo 3 7B Think and 3.1 32B Think."""
    return _render_think(conversation, _OLMO)


def _render_32b_think(conversation: Conversation) -> str:
    """Render for Olmo 3 32B Think."""
    return _render_think(conversation, "You are a helpful AI assistant.")


def _first_system(conversation: Conversation) -> str | None:
    return next((m.content for m in conversation.messages if m.role == "system"), None)


def _render(conversation: Conversation, default_system: str) -> str:
    system = _first_system(conversation)
    if conversation.tools:
        tools = [jsontext.tool_object(tool) for tool in conversation.tools]
        head = default_system + _WITH_FUNCTIONS if system is None else system
        head += f"<functions>{jsontext.format_spaced(tools)}</functions>"
    else:
        head = default_system + _NO_FUNCTIONS if system is None else system
    parts = [chatml.format_turn("system", head)]
    messages = [m for m in conversation.messages if m.role != "system"]
    for i, message in enumerate(messages):
        if message.role == "user":
            parts.append(chatml.format_turn("user", message.content))
        elif message.role == "tool":
            parts.append(chatml.format_turn("environment", message.content))
        elif message.role == "assistant":
            is_open = i == len(messages) - 1 and not message.tool_calls
            closing = "" if is_open else chatml.CLOSE
            parts.append(f"{chatml.OPEN}assistant\n{message.content}{_calls(message)}{closing}")
    if not (
        messages and messages[-1].role == "assistant" and messages[-1].content and not messages[-1].tool_calls
    ):
        parts.append(f"{chatml.OPEN}assistant\n")
    return "".join(parts)


def _calls(message: Message) -> str:
    if not message.tool_calls:
        return ""
    calls = "\n".join(_format_call(call) for call in message.tool_calls)
    return OPEN_CALLS + calls + CLOSE_CALLS


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.sorted_value(call.arguments)
    return f"{call.name}({', '.join(f'{name}={jsontext.format_json(v)}' for name, v in arguments.items())})"


def _render_think(conversation: Conversation, default_system: str) -> str:
    system = _first_system(conversation)
    parts = [chatml.format_turn("system", default_system if system is None else system + _NO_FUNCTIONS)]
    parts += [
        chatml.format_turn(message.role, message.content)
        for message in conversation.messages
        if message.role in {"user", "assistant"}
    ]
    parts.append(f"{chatml.OPEN}assistant\n{marks.OPEN_THINK}")
    return "".join(parts)


# --- replies -----------------------------------------------------------------------------------------------

_TEXT = Mode(Sink.CONTENT, TagSet(OPEN_CALLS))
_BODY = Mode(Sink.BODY, TagSet(CLOSE_CALLS), is_inside=is_in_value, may_be_talk=True)
# A closing tag that comes twice.
_AFTER_CALLS = Mode(Sink.DROP, TagSet(CLOSE_CALLS), otherwise=_TEXT)
_PLAIN = Mode(Sink.CONTENT, TagSet())
_PLAIN_AFTER_THINK = Mode(Sink.CONTENT, TagSet(), trim_start=Trim.ALL)
_THOUGHT = Mode(Sink.THINKING, TagSet(marks.CLOSE_THINK), trims_end=True)


class _OlmoParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__(_TEXT, home=_TEXT)
        self._tools = tools

    def _on_tag(self, tag: str) -> None:
        if tag == OPEN_CALLS:
            self._enter(_BODY, opened=tag)
            return
        if self._mode is _BODY:
            self._end_body(tag)
        self._enter(_AFTER_CALLS)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        return self._take(
            read_listed_calls(
                body,
                self._tools,
                is_complete=is_complete,
                is_exact=is_exact,
                tags=(OPEN_CALLS, CLOSE_CALLS),
            )
        )


class _OlmoThinkParser(TaggedParser):
    def _on_tag(self, tag: str) -> None:
        self._enter(_PLAIN_AFTER_THINK)


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _OlmoParser(tools)


def _create_think(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt always opens the thinking."""
    return _OlmoThinkParser(_PLAIN if is_prefilled(last_message) else _THOUGHT, home=_PLAIN)


# --- the family --------------------------------------------------------------------------------------------

_FORM = CallForm(python_call, (OPEN_CALLS,), OPEN_CALLS, CLOSE_CALLS, "\n", thinking=None)
_THINKS: tuple[Think, ...] = (True,)

FAMILY = Family(
    renderers=(
        Renderer("olmo3", _render_3),
        Renderer("olmo3.1", _render_3_1),
        Renderer("olmo3-think", _render_7b_think, think_values=_THINKS),
        Renderer("olmo3-32b-think", _render_32b_think, think_values=_THINKS),
    ),
    parsers=(
        Parser("olmo3", _create, (OPEN_CALLS, CLOSE_CALLS), _FORM),
        Parser("olmo3-think", _create_think, (marks.CLOSE_THINK,), has_thinking=True),
    ),
    signs=(Sign((OPEN_CALLS,), "olmo3"),),
)
