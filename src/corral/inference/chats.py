"""How a model talks: what makes its prompts and reads its replies. Chosen once for each profile, by `chat_choice`.

A renderer of ours, a Go template as Ollama has them, or the Jinja template in the weights. What else differs between
the three, or with a family, is data: `Quirks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from corral.chat.families.family import LEVELS, SWITCH, GoConvention, Renderer
from corral.chat.gotemplate import Template
from corral.chat.rendering.images import insert_image_tags
from corral.chat.templates.jinja import ChatTemplate
from corral.errors import InvalidRequestError, TemplateError
from corral.inference.rendering import is_large, render_go, render_jinja
from corral.inference.reply_parser import Replies
from corral.types import Message, Think, Tool

# llama.cpp: tools/server, of the last message being the beginning of the reply.
_TWO_ANSWERS_TEXT = "Cannot have 2 or more assistant messages at the end of the list."
_DEFAULT_LEVEL: Think = "medium"


@dataclass(frozen=True, slots=True)
class Quirks:
    """How Ollama treats the requests to a model, where it depends on the way that the model talks.

    The first five are those of prompts by a renderer or a Go template, which Ollama makes itself; a Jinja template it
    leaves to the engine's own chat route, and they are otherwise.
    """

    # Whether a prompt that is too long is cut, token by token; otherwise the engine refuses it.
    cuts_prompts: bool = True
    # Whether a reply that repeats itself is ended.
    guards_repeats: bool = True
    # What `num_predict` 0 stands for: no bound.
    zero_predicts: int = -1
    # Whether a prompt keeps a BOS that the tokenizer adds too, until it goes to the engine: it is shown with it.
    shows_bos: bool = True
    # Whether an EOS at the end of the prompt goes when the tokenizer adds it too.
    cuts_eos: bool = False
    # A generate sends a line for every step, empty ones too. So do models whose replies are read by tags.
    emits_empty_chunks: bool = False
    # The next two hold for models with a parser of their family.
    # The reader of a generate gets the request's `think`, not what was made of it.
    reads_given_think: bool = True
    # Calls are read whether the request has tools or not, so that a grammar has to forbid them.
    reads_unasked_calls: bool = True
    # Earlier answers are shown without their thinking.
    drops_old_thinking: bool = False
    # One image a message, not more.
    takes_one_image: bool = False
    # What is written between thinking and the answer that follows it, where a second run makes the answer.
    answer_start: str = ""


class Chat(Protocol):
    """How one model talks. `bos`: what its prompts may begin with, "" if that is not known.

    `problem`: why the template in the weights cannot be used. `template_in_weights`: the template, if prompts are
    to come from it.
    """

    @property
    def replies(self) -> Replies: ...
    @property
    def quirks(self) -> Quirks: ...
    @property
    def bos(self) -> str: ...
    @property
    def problem(self) -> str: ...
    @property
    def template_in_weights(self) -> str: ...

    async def prompt(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> str:
        """Write a conversation, with `[img-N]` for its images in the order of their numbers.

        Raises:
            TemplateError
            InvalidRequestError: two answers at the end, for a model with a Jinja template.
        """
        ...

    def think_values(self) -> tuple[tuple[Think, ...], Think]:
        """The values of `think` that make a difference, and the one that counts if none is given."""
        ...


@dataclass(frozen=True, slots=True)
class BuiltInChat:
    """Prompts by a renderer of ours."""

    renderer: Renderer
    replies: Replies
    quirks: Quirks
    model_name: str
    parameter_count: int
    problem: str = ""
    template_in_weights: str = ""

    @property
    def bos(self) -> str:
        return self.renderer.bos

    async def prompt(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> str:
        if self.renderer.has_image_tags and _has_images(messages):
            messages = insert_image_tags(messages, separator=True)

        def write() -> str:
            return self.renderer.render(
                messages,
                tools,
                think,
                model_name=self.model_name,
                parameter_count=self.parameter_count,
            )

        # A renderer takes time in proportion to what it gets.
        return await asyncio.to_thread(write) if is_large(messages, tools) else write()

    def think_values(self) -> tuple[tuple[Think, ...], Think]:
        return self.renderer.think_values, self.renderer.think_default


@dataclass(frozen=True, slots=True)
class GoTemplateChat:
    """Prompts by a Go template. `convention`: what Ollama adds for models of some families."""

    template: Template
    replies: Replies
    quirks: Quirks
    convention: GoConvention | None = None
    problem: str = ""
    bos: str = ""
    template_in_weights: str = ""

    async def prompt(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> str:
        if _has_images(messages):
            messages = insert_image_tags(messages, separator=False)
        if self.convention is not None:
            tools = self.convention.renamed(tools)
            think = self.convention.highest if think == "max" else think
        return await render_go(self.template, messages, tools, think)

    def think_values(self) -> tuple[tuple[Think, ...], Think]:
        if self.convention is not None:
            return _with_default(self.convention.think_values)
        variables = self.template.variables()
        has_switch = "think" in variables or "isthinkset" in variables
        return _template_values(self.replies, has_levels="thinklevel" in variables, has_switch=has_switch)


@dataclass(frozen=True, slots=True)
class JinjaChat:
    """Prompts by the Jinja template in the weights, or by `tool_template` for requests with tools, if there is one.

    `template` is None if it cannot be used; `problem` says why.
    """

    template: ChatTemplate | None
    replies: Replies
    quirks: Quirks
    model_name: str
    special_tokens: Mapping[str, str]
    tool_template: ChatTemplate | None = None
    problem: str = ""
    bos: str = ""
    template_in_weights: str = ""

    async def prompt(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> str:
        if [message.role for message in messages[-2:]] == ["assistant", "assistant"]:
            raise InvalidRequestError(_TWO_ANSWERS_TEXT)
        if self.template is None:
            raise TemplateError(
                f"the chat template in the weights of {self.model_name} cannot be used:"
                f" {self.problem}; a model created from it with a TEMPLATE does not need it"
            )
        if _has_images(messages):
            messages = _append_image_tags(messages)
        template = self.tool_template if tools and self.tool_template else self.template
        return await render_jinja(template, messages, tools, {"think": think, **self.special_tokens})

    def think_values(self) -> tuple[tuple[Think, ...], Think]:
        source = "" if self.template is None else self.template.source
        return _template_values(
            self.replies, has_levels="reasoning_effort" in source, has_switch="enable_thinking" in source
        )


def _has_images(messages: Sequence[Message]) -> bool:
    return any(message.images for message in messages)


def _append_image_tags(messages: Sequence[Message]) -> list[Message]:
    """Images follow the text, as the engine's own chat route places them."""
    tagged, count = [], 0
    for message in messages:
        tags = "".join(f"[img-{count + i}]" for i in range(len(message.images)))
        count += len(message.images)
        tagged.append(replace(message, content=message.content + tags))
    return tagged


def _template_values(
    replies: Replies, *, has_levels: bool, has_switch: bool
) -> tuple[tuple[Think, ...], Think]:
    """What a template makes a difference between, unless the family of its parser has fixed values."""
    if replies.parser is not None and replies.parser.think_values:
        return _with_default(replies.parser.think_values)
    if not has_levels:
        return _with_default(SWITCH)
    return _with_default((*SWITCH, *LEVELS) if has_switch else LEVELS)


def _with_default(values: tuple[Think, ...]) -> tuple[tuple[Think, ...], Think]:
    return values, True if True in values else _DEFAULT_LEVEL
