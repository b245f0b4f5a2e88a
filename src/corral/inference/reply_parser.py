"""How a model's replies are read: by its own parser, or by the tags of thinking and calls that its template shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from corral.chat.families.family import Parser
from corral.chat.parsing.events import OutputParser, Parsed
from corral.chat.parsing.thinking import ThinkingParser
from corral.chat.parsing.tools import ToolParser
from corral.inference.bindings import FormKey
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


@dataclass(frozen=True, slots=True)
class Replies:
    """What is known of a model's replies.

    `thinking_tags` and `tool_tag` are those that the template shows; `parser`, if there is one, comes first.
    `arguments_key`: under which name the template writes the arguments of a call. `closes_tool_tag`: the tag that
    closes a call is a token that the engine has to show, too.
    """

    parser: Parser | None
    thinking_tags: tuple[str, str] | None
    tool_tag: str
    arguments_key: str = "arguments"
    closes_tool_tag: bool = False

    @property
    def reads_thinking(self) -> bool:
        return self.parser is not None or self.thinking_tags is not None

    def reader(
        self,
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
        if self.parser is not None:
            chosen = self.parser.create(tools, last_message, think)
            if self.parser.has_tools or not tools:
                return chosen
        elif think and self.thinking_tags is not None:
            open_tag, close_tag = self.thinking_tags
            chosen = ThinkingParser(open_tag, close_tag, started=prompt.rstrip().endswith(open_tag))
        if not tools:
            return chosen
        tool_parser = ToolParser(self.tool_tag, tools, is_strict=is_strict)
        return tool_parser if chosen is None else _Chain(chosen, tool_parser)

    def preserved_tokens(self, tools: Sequence[Tool]) -> tuple[str, ...]:
        """Special tokens that have to show up in the text, because the reader looks for them."""
        tokens: list[str] = [] if self.parser is None else list(self.parser.tokens)
        if self.thinking_tags is not None:
            tokens += self.thinking_tags
        if tools and (match := _FIRST_BRACKETED.search(self.tool_tag)):
            tokens.append(match[0])
            if self.closes_tool_tag:
                tokens.append(match[0].replace("<", "</", 1))
        return tuple(dict.fromkeys(tokens))

    def form_key(self) -> FormKey:
        """The form in which the model writes calls."""
        name = "" if self.parser is None else self.parser.name
        return FormKey(name, self.tool_tag, self.arguments_key, self.thinking_tags)

    def closed_thinking(
        self, prompt: str, thinking: str, *, is_rendered: bool = True, has_start: bool = False
    ) -> str | None:
        """A prompt with the thinking that followed it, closed, so that what comes next is the answer.

        `has_start`: with what the family writes in front of an answer. None: the family's renderer knows better how
        (`is_rendered`), when the thinking is part of the conversation.
        """
        form = self.form_key().form()
        tags = self.thinking_tags if self.parser is None else form.thinking
        if tags is None or (self.parser is not None and is_rendered):
            return None
        opening, closing = tags
        is_block = closing.startswith("</")  # a block of lines
        start = "" if prompt.rstrip().endswith(opening.rstrip()) else opening + "\n" * is_block
        end = f"\n{closing}\n\n" if is_block else closing
        answer = form.answer_starts[0] if has_start and form.answer_starts else ""
        return f"{prompt}{start}{thinking.rstrip()}{end}{answer}"


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
