"""DeepSeek-V3.1, and DeepSeek 3 with its replies.

Prompts: system messages joined in front, then the tools; no prefill and no marker after a tool result. Only the first
answer after a user's text gets an assistant marker. Thinking inside an answer's text is dropped.
Replies: calls between two tags. A call that cannot be read is given back as text.
Ollama: model/renderers/deepseek3.go, model/parsers/deepseek3.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import Family, Parser, Renderer, Sign
from corral.chat.parsing.call_forms import CallForm, json_call
from corral.chat.parsing.calls import is_in_value, read_arguments, read_calls
from corral.chat.parsing.events import is_prefilled
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Think, Tool, ToolCall

BOS, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
OPEN_CALLS, CLOSE_CALLS = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
OPEN_CALL, SEPARATOR, CLOSE_CALL = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
OPEN_OUTPUTS, CLOSE_OUTPUTS = "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"
OPEN_OUTPUT, CLOSE_OUTPUT = "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"


# --- prompts -----------------------------------------------------------------------------------------------

_CALL_FORMAT = f"""
IMPORTANT: ALWAYS adhere to this exact format for tool use:
{OPEN_CALLS}{OPEN_CALL}tool_call_name{SEPARATOR}tool_call_arguments{CLOSE_CALL}\
{{{{additional_tool_calls}}}}{CLOSE_CALLS}

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
            parts.append(USER + message.content)
        elif message.role == "tool":
            parts.append(OPEN_OUTPUT + message.content + CLOSE_OUTPUT)
        elif message.role == "assistant":
            if previous == "user":
                opens_thinking = is_thinking and message.thinking and i > last_user and not message.tool_calls
                parts.append(ASSISTANT + (marks.OPEN_THINK if opens_thinking else marks.CLOSE_THINK))
            parts.append(_answer(message, follows_tool=previous == "tool"))
        else:
            continue
        previous = message.role
    if previous == "user":
        parts.append(ASSISTANT + (marks.OPEN_THINK if is_thinking else marks.CLOSE_THINK))
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
        return f"{message.content}{OPEN_CALLS}{calls}{CLOSE_CALLS}{END}"
    _, tag, after = message.content.partition(marks.CLOSE_THINK)
    return (message.content if follows_tool or not tag else after) + END


def _format_call(call: ToolCall) -> str:
    arguments = jsontext.format_json(jsontext.arguments_object(call.arguments))
    return f"{OPEN_CALL}{call.name}{SEPARATOR}{arguments}{CLOSE_CALL}"


# --- replies -----------------------------------------------------------------------------------------------

# Outputs of tools are not for the model to write; if it does, their text is text.
_OUTPUT_TAGS = (OPEN_OUTPUTS, CLOSE_OUTPUTS, OPEN_OUTPUT, CLOSE_OUTPUT)
_TEXT_TAGS = TagSet(OPEN_CALLS, *_OUTPUT_TAGS)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trims_end=True, keeps_end=True, spaced_tags=_OUTPUT_TAGS)
_TEXT_AFTER_TAG = Mode(
    Sink.CONTENT, _TEXT_TAGS, Trim.ALL, trims_end=True, keeps_end=True, spaced_tags=_OUTPUT_TAGS
)
_THOUGHT = Mode(Sink.THINKING, TagSet(marks.CLOSE_THINK), trims_end=True)
_BETWEEN_CALLS = Mode(Sink.CONTENT, TagSet(OPEN_CALL, CLOSE_CALLS), Trim.ALL, trims_end=True)
_CALL = Mode(Sink.BODY, TagSet(CLOSE_CALL, CLOSE_CALLS), is_inside=is_in_value)
_FENCED = re.compile(r"(?P<name>[^\n]*)\n```(?:json)?\n(?P<arguments>.*?)\n?```\s*\Z", re.DOTALL)


class _DeepSeekParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_TEXT)
        self._tools = tools
        self._names = {tool.function.name for tool in tools}

    def _on_tag(self, tag: str) -> None:
        if tag == OPEN_CALLS:
            self._enter(_BETWEEN_CALLS)
        elif tag == OPEN_CALL:
            self._enter(_CALL, opened=tag)
        elif tag == CLOSE_CALL:
            self._end_body(tag)
            self._enter(_BETWEEN_CALLS)
        elif tag == CLOSE_CALLS and self._mode is _CALL:
            self._end_body("")
            self._enter(_TEXT_AFTER_TAG)
        elif tag in _OUTPUT_TAGS:
            self._enter(_TEXT)
        else:
            self._enter(_TEXT_AFTER_TAG)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        name, separator, rest = body.partition(SEPARATOR)
        if separator:
            if match := _FENCED.match(rest):
                name, rest = match["name"], match["arguments"]
            name, arguments = name.strip(), read_arguments(rest, is_complete=is_complete)
            if name and arguments is not None:
                self._call(name, arguments)
                return True
            body = f"{name}\n{rest}" if name in self._names else rest
        found = read_calls(
            body, self._tools, is_complete=is_complete, is_exact=is_exact, tags=(OPEN_CALL, CLOSE_CALL)
        )
        return self._take(found)


def create_deepseek3(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _DeepSeekParser(_THOUGHT if think and not is_prefilled(last_message) else _TEXT, tools)


# --- the family --------------------------------------------------------------------------------------------

TOKENS = (
    marks.CLOSE_THINK,
    OPEN_CALLS,
    CLOSE_CALLS,
    OPEN_CALL,
    CLOSE_CALL,
    SEPARATOR,
    OPEN_OUTPUT,
    CLOSE_OUTPUT,
)

FAMILY = Family(
    renderers=(Renderer("deepseek3.1", render, BOS),),
    parsers=(
        Parser(
            "deepseek3",
            create_deepseek3,
            TOKENS,
            CallForm(json_call(OPEN_CALL, SEPARATOR, CLOSE_CALL), (OPEN_CALLS,), OPEN_CALLS, CLOSE_CALLS),
            has_thinking=True,
        ),
    ),
    signs=(Sign((OPEN_CALLS,), "deepseek3"),),
    forgetful_names=("deepseek-r1",),
)
