"""Glimmer: messages with recipients, ` to=NAME<|message|>TEXT<|eom|>`; no prefill.

`self` is the model's thinking, a tool's name a call in ATEM form (`<atem:invoke name="…">` with parameters, inside of
`<atem:function_calls>`), anyone else the user. Text where a header should be is content.
Prompts: every system message carries the reasoning strength, the tools and the recipients; without one a default text
with the date is written. The text of an answer that calls tools is not shown.
Ollama: model/renderers/glimmer.go, model/parsers/glimmer.go.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Any

from corral.chat import marks
from corral.chat.families.family import LEVELS, Family, Parser, Renderer
from corral.chat.parsing.call_forms import CallForm, tagged_call
from corral.chat.parsing.calls import Calls, read_arguments, read_calls, without_tags
from corral.chat.parsing.coerce import coerce_parameter
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Think, Tool, ToolCall

BOS = "<|begin_of_text|>"
END_MESSAGE, END_TURN = "<|eom|>", "<|eot|>"
NEXT = f"{marks.START}assistant"
OPEN_CALLS, CLOSE_CALLS = "<atem:function_calls>", "</atem:function_calls>"
OPEN_INVOKE, CLOSE_INVOKE = '<atem:invoke name="', "</atem:invoke>"
OPEN_PARAMETER, CLOSE_PARAMETER = '<atem:parameter name="', "</atem:parameter>"
NAME_END = '">'


# --- prompts -----------------------------------------------------------------------------------------------

_DEFAULT_SYSTEM = "You are a helpful AI assistant.\nKnowledge cutoff: 2026-01-04.\nCurrent date: {today}."
_TOOLS_INTRODUCTION = f"""\
In this environment you have access to a set of tools you can use to answer the user's question.

You can invoke a function by writing a "{OPEN_CALLS}" block like the following:
{OPEN_CALLS}
{OPEN_INVOKE}$FUNCTION_NAME{NAME_END}
{OPEN_PARAMETER}$PARAMETER_NAME{NAME_END}$PARAMETER_VALUE{CLOSE_PARAMETER}
...
{CLOSE_INVOKE}
{CLOSE_CALLS}

String and scalar parameters should be specified as is, while lists and objects should use JSON format. \
Note that spaces for string values are not stripped. \
The output is not expected to be valid XML and is parsed with regular expressions.
Here are the functions available in JSONSchema format:
// Tool metadata
"""
_CALL_EXAMPLE = f"""

Here's an example of how to call a function in the tool set:
(If the tool namespace is not specified, invoke the function directly as `example_function_name` rather than \
`example_tool_name.example_function_name`)

to=example_tool_name.example_function_name

{OPEN_CALLS}
{OPEN_INVOKE}example_tool_name.example_function_name{NAME_END}
{OPEN_PARAMETER}example_parameter_1{NAME_END}value_1{CLOSE_PARAMETER}
{OPEN_PARAMETER}example_parameter_2{NAME_END}This is the value for the second parameter
that can span
"multiple" lines
{CLOSE_PARAMETER}
{CLOSE_INVOKE}
{CLOSE_CALLS}"""


def _render(conversation: Conversation) -> str:
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
            parts.append(_answer(message, END_MESSAGE if is_continued else END_TURN))
    parts.append(NEXT)
    return "".join(parts)


def _format_message(header: str, content: str, end: str = END_TURN) -> str:
    return f"{marks.START}{header}{marks.MESSAGE}{content}{end}"


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
    thinking = _format_message("assistant to=self", message.thinking, END_MESSAGE) if message.thinking else ""
    if message.tool_calls:
        ends = [END_MESSAGE] * (len(message.tool_calls) - 1) + [end]
        calls = zip(message.tool_calls, ends, strict=True)
        return thinking + "".join(
            _format_message(f"assistant to={c.name}", _format_call(c), e) for c, e in calls
        )
    if message.content or not message.thinking:
        return thinking + _format_message("assistant to=user", message.content)
    return thinking


def _format_call(call: ToolCall) -> str:
    parameters = "".join(
        f"{OPEN_PARAMETER}{name}{NAME_END}{_format_argument(value)}{CLOSE_PARAMETER}\n"
        for name, value in call.arguments.items()
    )
    invoke = f"{OPEN_INVOKE}{call.name}{NAME_END}\n{parameters}{CLOSE_INVOKE}"
    return f"{OPEN_CALLS}\n{invoke}\n{CLOSE_CALLS}"


def _format_argument(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return _json(jsontext.sorted_value(value))
    return jsontext.format_value(value)


def _json(value: Any) -> str:
    return jsontext.format_json(value, is_spaced=True, is_escaped=False)


# --- replies -----------------------------------------------------------------------------------------------

_NAME = re.compile(r"[\w.:/-]+")
_ENDS = TagSet(END_MESSAGE, END_TURN, NEXT)

_TEXT = Mode(Sink.CONTENT, _ENDS)
_BARE_TEXT = Mode(Sink.CONTENT, TagSet(END_MESSAGE, END_TURN, NEXT, marks.MESSAGE))
_HEADER = Mode(Sink.DROP, TagSet(NEXT, marks.MESSAGE, "to=", END_MESSAGE, END_TURN), otherwise=_BARE_TEXT)
_RECIPIENT = Mode(Sink.BODY, TagSet(marks.MESSAGE))
_THOUGHT = Mode(Sink.THINKING, _ENDS)
_HIDDEN = Mode(Sink.DROP, _ENDS)
_CALL = Mode(Sink.BODY, TagSet(CLOSE_CALLS))
_AFTER_CALL = Mode(Sink.CONTENT, _ENDS, trim_start=Trim.ALL, trims_end=True)
# A call that is not addressed to its tool.
_MISSENT_CALL = Mode(Sink.BODY, TagSet(CLOSE_CALLS))
_TEXT_OR_CALL = Mode(Sink.DROP, TagSet(OPEN_CALLS), otherwise=_TEXT)


class _GlimmerParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], thought: Mode) -> None:
        super().__init__(_HEADER, home=_TEXT)
        self._tools = tools
        self._thought = thought
        self._recipient = ""

    def _on_tag(self, tag: str) -> None:
        if tag == marks.MESSAGE:
            self._begin_message(self._take_body().strip())
        elif tag == "to=":
            self._enter(_RECIPIENT, opened=tag)
        elif tag == OPEN_CALLS:
            self._enter(_MISSENT_CALL)
            self._append_body(tag)
        elif tag == CLOSE_CALLS:
            if self._mode is not _AFTER_CALL:
                self._append_body(tag)
                self._end_body("")
            self._enter(_AFTER_CALL)
        else:
            self._enter(_HEADER, opened=tag if tag == NEXT else "")

    def _begin_message(self, recipient: str) -> None:
        self._recipient = recipient
        if recipient == "self":
            self._enter(self._thought)
        elif recipient in ("", "user"):
            self._enter(_TEXT_OR_CALL if self._tools else _TEXT)
        elif _NAME.fullmatch(recipient):
            self._enter(_CALL, opened=f"to={recipient}{marks.MESSAGE}")
        else:
            self._emit(f"to={recipient}")
            self._enter(_TEXT_OR_CALL if self._tools else _TEXT)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """A call that its message is addressed to; without an address one of a declared tool."""
        if not self._tools:  # the request expects text
            return False
        body = OPEN_CALLS + without_tags(body, (OPEN_CALLS, CLOSE_CALLS)) + CLOSE_CALLS
        try:
            name, tool, arguments = _parse_atem(body, self._tools)
        except ValueError:
            return self._read_other(body, is_complete=is_complete)
        if self._mode is _CALL and tool != _resolve_tool(self._tools, self._recipient):
            return False
        if tool is None and self._mode is not _CALL:
            return False
        self._call(name if tool is None else tool.function.name.strip(), arguments)
        return True

    def _read_other(self, body: str, *, is_complete: bool) -> bool:
        """Arguments as JSON, or calls in another form."""
        inner = body.removeprefix(OPEN_CALLS).removesuffix(CLOSE_CALLS)
        tool = _resolve_tool(self._tools, self._recipient) if self._mode is _CALL else None
        found = read_calls(inner, self._tools, is_complete=is_complete)
        if found is None and tool is not None and inner.strip().startswith(("{", "[")):
            arguments = read_arguments(inner, is_complete=is_complete)
            found = None if arguments is None else Calls([(tool.function.name.strip(), arguments)])
        return self._take(found)


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _GlimmerParser(tools, _HIDDEN if think is False else _THOUGHT)


def _resolve_tool(tools: Iterable[Tool], name: str) -> Tool | None:
    """The tool of that name; `f.f` is `f`, since prompts show each tool with a namespace."""
    by_name = {tool.function.name.strip(): tool for tool in tools if tool.function.name.strip()}
    if name in by_name:
        return by_name[name]
    namespace, dot, rest = name.partition(".")
    return by_name.get(rest) if dot and namespace == rest.partition(".")[0] else None


def _parse_atem(text: str, tools: Iterable[Tool]) -> tuple[str, Tool | None, dict[str, Any]]:
    """Return the name as written, its tool and the arguments of the one call in `text`.

    Raises:
        ValueError: another form.
    """
    text = text.strip()
    if not (text.startswith(OPEN_CALLS) and text.endswith(CLOSE_CALLS)):
        raise ValueError("missing ATEM function_calls wrapper")
    text = text[len(OPEN_CALLS) : -len(CLOSE_CALLS)].strip()
    if not (text.startswith(OPEN_INVOKE) and text.endswith(CLOSE_INVOKE)):
        raise ValueError("missing ATEM invoke wrapper")
    name, found, rest = text[len(OPEN_INVOKE) : -len(CLOSE_INVOKE)].partition(NAME_END)
    if not found:
        raise ValueError("malformed ATEM invoke name")
    name = name.replace(marks.MESSAGE, "")  # the model repeats the form of the header here
    tool = _resolve_tool(tools, name)
    arguments: dict[str, Any] = {}
    position, rest = 0, rest.strip("\n")
    while position < len(rest):
        key, value, position = _parse_parameter(rest, position)
        arguments[key] = coerce_parameter(value, tool, key, strips_lines=False)
    return name, tool, arguments


def _parse_parameter(text: str, position: int) -> tuple[str, str, int]:
    if not text.startswith(OPEN_PARAMETER, position):
        raise ValueError("malformed ATEM parameter")
    position += len(OPEN_PARAMETER)
    if (end := text.find(NAME_END, position)) < 0:
        raise ValueError("malformed ATEM parameter name")
    key = text[position:end]
    position = end + len(NAME_END)
    if (end := text.find(CLOSE_PARAMETER, position)) < 0:
        raise ValueError(f'unterminated ATEM parameter "{key}"')
    after = end + len(CLOSE_PARAMETER)
    while after < len(text) and text[after] in " \t\r\n":
        after += 1
    return key, text[position:end], after


# --- the family --------------------------------------------------------------------------------------------

_call = tagged_call(
    f" to=NAME{marks.MESSAGE}{OPEN_CALLS}\n{OPEN_INVOKE}NAME{NAME_END}\n",
    OPEN_PARAMETER,
    NAME_END,
    f"{CLOSE_PARAMETER}\n",
    f"{CLOSE_INVOKE}\n{CLOSE_CALLS}",
    ("</atem:", "<atem:", "<|"),
)
_FORM = CallForm(
    _call,
    (OPEN_CALLS,),
    separator=None,
    thinking=(f" to=self{marks.MESSAGE}", f"{END_MESSAGE}{NEXT}"),
    answer_starts=(f" to=user{marks.MESSAGE}",),
)

FAMILY = Family(
    renderers=(Renderer("glimmer", _render, BOS, True, (False, *LEVELS), "high"),),
    parsers=(
        Parser(
            "glimmer",
            _create,
            (marks.START, marks.MESSAGE, END_MESSAGE, END_TURN),
            _FORM,
            has_thinking=True,
        ),
    ),
)
