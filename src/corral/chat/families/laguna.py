"""Laguna and Poolside v1: turns in plain tags, calls with argument keys and values.

Prompts: a system text is invented unless a system message comes first, even an empty one. Laguna opens every answer
with its thinking, or with a bare `</think>`; Poolside v1 is the same without line breaks, shows earlier thinking only
while thinking is on and has no prefill.
Replies: thinking up to `</think>`, calls in `<tool_call>` as tagged pairs or as JSON. With tools, a call may also
stand in `<user>`, or bare, as a JSON object that names a declared tool.
Ollama: model/renderers/laguna.go, model/parsers/laguna.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat import marks
from corral.chat.families.family import CreateDefault, Family, Parser, Renderer
from corral.chat.parsing.call_forms import CallForm, pairs_call
from corral.chat.parsing.calls import Calls, is_in_value, read_calls, read_pairs, without_tags
from corral.chat.parsing.coerce import find_tool
from corral.chat.parsing.scan import ObjectScanner
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import Conversation, trim, trim_right
from corral.types import Message, Think, Tool, ToolCall

BOS = "〈|EOS|〉"
OPEN_SYSTEM, CLOSE_SYSTEM = "<system>", "</system>"
OPEN_USER, CLOSE_USER = "<user>", "</user>"
OPEN_ASSISTANT, CLOSE_ASSISTANT = "<assistant>", "</assistant>"


# --- prompts -----------------------------------------------------------------------------------------------

_DEFAULT_SYSTEM = (
    "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be helpful to users "
    "through natural language conversations."
)
_TOOLS_INTRODUCTION = """### Tools

You may call functions to assist with the user query.
All available function signatures are listed below:
<available_tools>
"""
_THINKING_FORMAT = (
    f"Wrap your thinking in '{marks.OPEN_THINK}', '{marks.CLOSE_THINK}' tags, followed by a function call. "
)
_CALL_FORMAT = (
    "For each function call, return an unescaped XML-like object with function name and arguments within "
    f"'{marks.OPEN_CALL}' and '{marks.CLOSE_CALL}' tags, like here:\n"
)
_CALL_EXAMPLE = f"""{marks.OPEN_CALL}function-name
{marks.OPEN_KEY}argument-key{marks.CLOSE_KEY}
{marks.OPEN_VALUE}value-of-argument-key{marks.CLOSE_VALUE}
{marks.CLOSE_CALL}"""


def _render(conversation: Conversation) -> str:
    """Render for Laguna; thinking is off unless asked for."""
    is_thinking = conversation.is_thinking(default=False)
    system, messages = _split_system(conversation.messages)
    parts = [BOS]
    if system or conversation.tools:
        text = f"\n{system}" if system else ""
        parts.append(
            f"{OPEN_SYSTEM}\n{text}{_laguna_tools(conversation.tools, is_thinking)}\n{CLOSE_SYSTEM}\n"
        )
    for message in messages:
        if message.role in {"user", "system"}:
            parts.append(f"<{message.role}>\n{message.content}\n</{message.role}>\n")
        elif message.role == "tool":
            parts.append(f"{marks.OPEN_RESPONSE}\n{message.content}\n{marks.CLOSE_RESPONSE}\n")
        elif message.role == "assistant":
            parts.append(f"{OPEN_ASSISTANT}\n{_laguna_answer(message)}{CLOSE_ASSISTANT}\n")
    if not conversation.is_prefill:
        parts.append(f"{OPEN_ASSISTANT}\n" + (marks.OPEN_THINK if is_thinking else marks.CLOSE_THINK))
    elif _is_started(conversation.messages[-1]):
        parts[-1] = parts[-1].removesuffix(f"{CLOSE_ASSISTANT}\n")
    return "".join(parts)


def _render_poolside(conversation: Conversation) -> str:
    """Render for Poolside v1; thinking is off unless asked for."""
    is_thinking = conversation.is_thinking(default=False)
    system, messages = _split_system(conversation.messages)
    parts = [BOS]
    if system or conversation.tools or is_thinking:
        tools = _tools_section(conversation.tools) if conversation.tools else ""
        gap = "\n\n" if system and tools else ""
        parts.append(f"{OPEN_SYSTEM}{system}{gap}{tools}{CLOSE_SYSTEM}\n")
    for message in messages:
        if message.role in {"user", "system"}:
            parts.append(f"<{message.role}>{message.content}</{message.role}>\n")
        elif message.role == "tool":
            parts.append(f"{marks.OPEN_RESPONSE}{message.content}{marks.CLOSE_RESPONSE}\n")
        elif message.role == "assistant":
            thinking = marks.OPEN_THINK + message.thinking if is_thinking else ""
            calls = "".join(_format_call(call, "") for call in message.tool_calls)
            parts.append(
                f"{OPEN_ASSISTANT}{thinking}{marks.CLOSE_THINK}{message.content}{calls}{CLOSE_ASSISTANT}\n"
            )
    parts.append(OPEN_ASSISTANT + (marks.OPEN_THINK if is_thinking else marks.CLOSE_THINK))
    return "".join(parts)


def _split_system(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system text, "" when it is blank, and the messages after it."""
    if messages and messages[0].role == "system":
        return trim_right(messages[0].content), messages[1:]
    return _DEFAULT_SYSTEM, messages


def _is_started(message: Message) -> bool:
    return bool(message.content or message.thinking or message.tool_calls)


def _tools_section(tools: Sequence[Tool]) -> str:
    lines = "".join(jsontext.format_spaced(jsontext.tool_object(tool)) + "\n" for tool in tools)
    return f"{_TOOLS_INTRODUCTION}{lines}</available_tools>"


def _laguna_tools(tools: Sequence[Tool], is_thinking: bool) -> str:
    if not tools:
        return ""
    thinking = (
        (_THINKING_FORMAT, f"{marks.OPEN_THINK} your thoughts here {marks.CLOSE_THINK}\n")
        if is_thinking
        else ("", "")
    )
    return f"\n\n{_tools_section(tools)}\n\n{thinking[0]}{_CALL_FORMAT}{thinking[1]}{_CALL_EXAMPLE}"


def _laguna_answer(message: Message) -> str:
    thinking, content = message.thinking, message.content
    if marks.CLOSE_THINK in content:
        before, _, content = content.rpartition(marks.CLOSE_THINK)
        thinking = thinking or before.partition(marks.CLOSE_THINK)[0].rpartition(marks.OPEN_THINK)[2]
    block = (
        f"{marks.OPEN_THINK}\n{trim(thinking)}\n{marks.CLOSE_THINK}\n"
        if thinking
        else f"{marks.CLOSE_THINK}\n"
    )
    text = f"{shown}\n" if (shown := trim(content)) else ""
    return block + text + "".join(_format_call(call, "\n") for call in message.tool_calls)


def _format_call(call: ToolCall, newline: str) -> str:
    arguments = "".join(
        f"{marks.OPEN_KEY}{name}{marks.CLOSE_KEY}{newline}"
        f"{marks.OPEN_VALUE}{jsontext.format_bare(value, is_spaced=True)}{marks.CLOSE_VALUE}{newline}"
        for name, value in call.arguments.items()
    )
    return f"{marks.OPEN_CALL}{call.name}{newline}{arguments}{marks.CLOSE_CALL}{newline}"


# --- replies -----------------------------------------------------------------------------------------------

_FIRST_KEYS = ('"name"', '"arguments"')
_ALIASES = {"read_file": "read", "write_file": "write", "edit_file": "edit", "web_fetch": "webfetch"}

_THOUGHT_ENDS = TagSet(marks.CLOSE_THINK, marks.OPEN_CALL)
_CALL = Mode(Sink.BODY, TagSet(marks.CLOSE_CALL), is_inside=is_in_value, may_be_talk=True)
_USER = Mode(Sink.BODY, TagSet(CLOSE_USER))
_JSON = Mode(Sink.BODY, TagSet())


class _LagunaParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool], *, is_thinking: bool, is_started: bool) -> None:
        """`is_started`: the reply begins in its thinking, not after it."""
        self._tools = tools
        tags = TagSet(marks.OPEN_THINK, marks.OPEN_CALL, *((OPEN_USER, "{") if tools else ()))
        spaced = (marks.OPEN_THINK, "{")
        self._text = Mode(Sink.CONTENT, tags, trims_end=True, spaced_tags=spaced)
        trimmed_text = Mode(Sink.CONTENT, tags, Trim.ALL, trims_end=True, spaced_tags=spaced)
        self._trimmed_text = trimmed_text
        # Where the answer begins; the prompt may have left the closing of the thinking to the model.
        self._answer = Mode(Sink.DROP, TagSet(marks.CLOSE_THINK), otherwise=trimmed_text)
        sink = Sink.THINKING if is_thinking else Sink.DROP
        self._thought = Mode(sink, _THOUGHT_ENDS, Trim.ALL, trims_end=True)
        self._after_thought = (
            trimmed_text
            if is_started
            else Mode(Sink.CONTENT, tags, Trim.BLANKS, trims_end=True, spaced_tags=spaced)
        )
        # A closing tag that comes twice.
        self._after_call = Mode(Sink.DROP, TagSet(marks.CLOSE_CALL), otherwise=trimmed_text)
        self._json_start = Mode(Sink.DROP, TagSet(*_FIRST_KEYS), otherwise=self._text)
        start = Mode(Sink.DROP, TagSet(marks.OPEN_THINK), otherwise=self._thought)
        super().__init__(start if is_started else self._answer, home=self._text)

    def _on_tag(self, tag: str) -> None:
        match tag:
            case marks.OPEN_THINK:
                self._enter(self._thought)
            case marks.CLOSE_THINK:
                self._enter(self._trimmed_text if self._mode is self._answer else self._after_thought)
            case marks.OPEN_CALL:
                self._enter(_CALL, opened=tag)
            case _ if tag == OPEN_USER:
                self._enter(_USER, opened=tag)
            case "{":
                self._enter(self._json_start, opened=tag)
            case '"name"' | '"arguments"':
                begun = "{" + self._skipped + tag
                scanner = ObjectScanner()
                scanner.scan(begun, 0, len(begun))
                self._enter(_JSON, scanner=scanner)
                self._append_body(begun)
            case marks.CLOSE_CALL if self._mode is self._after_call:
                self._enter(self._after_call)
            case _:
                self._enter(self._after_call if self._end_body(tag) else self._text)

    def _on_unclosed(self) -> None:
        """A call outside of its tags that the reply cut off is text."""
        if self._mode is _CALL:
            self._end_body("")
        else:
            self._emit(self._opened + self._take_body())

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """A call outside of its tags counts only if it is nothing but one of a declared tool."""
        found = self._find_calls(body, is_complete=is_complete or self._mode is _JSON, is_exact=is_exact)
        if found is not None and self._mode is not _CALL:
            is_call = not found.strays and all(find_tool(self._tools, name) for name, _ in found.calls)
            found = found if is_call else None
        return self._take(found)

    def _find_calls(self, body: str, *, is_complete: bool, is_exact: bool) -> Calls | None:
        body = without_tags(body, marks.CALL)
        found = None
        if "{" not in body.partition(marks.OPEN_KEY)[0]:
            found = read_pairs(body, self._tools, is_complete=is_complete or _is_whole(body))
        found = found or read_calls(
            body, self._tools, is_complete=is_complete, is_exact=is_exact, tags=marks.CALL
        )
        if found is not None:
            found.calls = [(self._resolve(name), arguments) for name, arguments in found.calls]
        return found

    def _resolve(self, name: str) -> str:
        alias = _ALIASES.get(name, "")
        is_alias = find_tool(self._tools, name) is None and find_tool(self._tools, alias) is not None
        return alias if is_alias else name


def _is_whole(body: str) -> bool:
    """Whether a call that was not closed ends where one may end."""
    return "<arg_" not in body or body.endswith(marks.CLOSE_VALUE)


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt goes on with a reply that the client has begun, after its thinking."""
    is_continued = last_message is not None and last_message.role == "assistant"
    return _LagunaParser(tools, is_thinking=bool(think), is_started=bool(think) and not is_continued)


def _create_poolside(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    """The prompt always begins a new reply."""
    return _LagunaParser(tools, is_thinking=bool(think), is_started=bool(think))


# --- the family --------------------------------------------------------------------------------------------

_TOKENS = (*marks.THINK, *marks.CALL, OPEN_USER, CLOSE_USER, *marks.PAIRS)
_FORM = CallForm(pairs_call("\n"), (marks.OPEN_CALL, OPEN_USER), separator="\n")

FAMILY = Family(
    renderers=(Renderer("laguna", _render, BOS), Renderer("poolside-v1", _render_poolside, BOS)),
    parsers=(
        Parser("laguna", _create, _TOKENS, _FORM, has_thinking=True),
        Parser("poolside-v1", _create_poolside, _TOKENS, _FORM, has_thinking=True),
    ),
    create_default=CreateDefault(("laguna",), "laguna", "laguna"),
)
