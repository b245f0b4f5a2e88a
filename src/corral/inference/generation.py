"""A request that has its runner, and the prompt that it makes: raw, by a template, or as a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from corral.inference.completion import Stopwatch
from corral.inference.profile import ModelProfile
from corral.inference.prompting import Prompt, fit_messages
from corral.inference.rendering import render_go, render_go_suffix
from corral.inference.requests import GenerateRequest, InferenceOptions
from corral.inference.tokens import text_of
from corral.runner.interface import Runner
from corral.types import Message, SamplingOptions, Think, Tool


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that has its runner: what the rest of the pipeline works with."""

    profile: ModelProfile
    common: InferenceOptions
    runner: Runner
    sampling: SamplingOptions
    think: Think
    has_shift: bool
    stopwatch: Stopwatch

    @property
    def num_ctx(self) -> int:
        return min(self.runner.spec.num_ctx, self.runner.facts.num_ctx)

    @property
    def may_truncate(self) -> bool:
        return self.common.truncate is not False


async def chat_prompt(turn: Turn, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
    """The text of a conversation, cut to the context where that is allowed.

    Raises:
        TemplateError, ContextOverflowError
    """
    return await fit_messages(
        turn.profile,
        messages,
        tools,
        turn.think,
        turn.runner,
        num_ctx=turn.num_ctx,
        is_allowed=turn.may_truncate,
    )


async def generate_prompt(turn: Turn, request: GenerateRequest) -> Prompt:
    """The text of a generate request: raw, fill-in-the-middle, custom template, or as a chat.

    Raises:
        TemplateError, ContextOverflowError
    """
    if request.prompt_tokens:
        return Prompt(await text_of(turn.runner, turn.profile, request.prompt_tokens))
    if request.is_raw:
        return Prompt(request.prompt, request.images)
    if turn.profile.chat.problem and request.is_template_optional:
        return Prompt(request.prompt, request.images)
    model = turn.profile.model
    if request.suffix:
        template = request.template or turn.profile.template
        text = await render_go_suffix(template, request.prompt, request.suffix, turn.think)
        return await _after_context(turn, request, Prompt(text, request.images))
    messages = [Message("user", request.prompt, images=request.images)]
    if request.context is None:
        messages = [*model.messages, *messages]
    if system := request.system or model.system:
        messages.insert(0, Message("system", system))
    if request.template:
        text = await render_go(request.template, messages, (), turn.think)
        prompt = Prompt(text, request.images)
    else:
        prompt = await chat_prompt(turn, messages, ())
    return await _after_context(turn, request, prompt)


async def _after_context(turn: Turn, request: GenerateRequest, prompt: Prompt) -> Prompt:
    """The prompt after the text of an earlier answer's tokens."""
    if not request.context:
        return prompt
    return replace(prompt, text=await turn.runner.detokenize(request.context) + prompt.text)
