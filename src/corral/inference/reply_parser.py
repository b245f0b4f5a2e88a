"""Chooses how a reply is read: the model's own parser, or thinking tags and tool calls inferred from its template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corral.chat.parsing.events import OutputParser, Parsed
from corral.chat.parsing.thinking import ThinkingParser
from corral.chat.parsing.tools import ToolParser
from corral.inference.profile import ModelProfile
from corral.inference.requests import Emit
from corral.types import Chunk, Message, Think, Tool

_FIRST_BRACKETED = re.compile(r"\[[^\]]*\]|<[^>]*>")


class _Chain:
    """Thinking first; what it calls content goes on to the tool parser."""

    def __init__(self, thinking: OutputParser, tools: OutputParser) -> None:
        self._thinking = thinking
        self._tools = tools

    def feed(self, text: str) -> Parsed:
        parsed = self._thinking.feed(text)
        if not parsed.content:
            return parsed
        rest = self._tools.feed(parsed.content)
        return Parsed(rest.content, parsed.thinking, parsed.tool_calls + rest.tool_calls)

    def finish(self) -> Parsed:
        parsed = self._thinking.finish()
        rest = self._tools.feed(parsed.content) if parsed.content else Parsed()
        end = self._tools.finish()
        calls = parsed.tool_calls + rest.tool_calls + end.tool_calls
        return Parsed(rest.content + end.content, parsed.thinking, calls)


def choose_parser(
    profile: ModelProfile,
    prompt: str,
    tools: Sequence[Tool],
    last_message: Message | None,
    think: Think,
    *,
    is_strict: bool = False,
) -> OutputParser | None:
    """The parser of a reply to `prompt`; None when its text is content as it is.

    `is_strict`: an answer may be JSON too, so that only an object which is nothing but a call counts as one.
    """
    chosen: OutputParser | None = None
    info = profile.parser
    if info is not None:
        chosen = info.create(tools, last_message, think)
        if info.has_tools or not tools:
            return chosen
    elif think and profile.thinking_tags is not None:
        open_tag, close_tag = profile.thinking_tags
        chosen = ThinkingParser(open_tag, close_tag, started=prompt.rstrip().endswith(open_tag))
    if not tools:
        return chosen
    tool_parser = ToolParser(profile.tool_tag, tools, is_strict=is_strict)
    return tool_parser if chosen is None else _Chain(chosen, tool_parser)


def preserved_tokens(profile: ModelProfile, tools: Sequence[Tool]) -> tuple[str, ...]:
    """Special tokens that have to show up in the text, because the parser looks for them."""
    tokens: list[str] = list(profile.parser.preserved_tokens) if profile.parser is not None else []
    if profile.thinking_tags is not None:
        tokens += profile.thinking_tags
    if tools and (match := _FIRST_BRACKETED.search(profile.tool_tag)):
        tokens.append(match[0])
        if profile.path == "jinja":
            tokens.append(match[0].replace("<", "</", 1))
    return tuple(dict.fromkeys(tokens))


def first_call_only(emit: Emit) -> Emit:
    """Leave out every call but the first."""
    has_called = False

    async def pass_on(chunks: list[Chunk]) -> None:
        nonlocal has_called
        for chunk in chunks:
            if chunk.tool_calls:
                chunk.tool_calls = () if has_called else chunk.tool_calls[:1]
                has_called = True
        await emit(chunks)

    return pass_on
