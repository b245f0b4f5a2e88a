"""One pipeline for generate and chat: check, get a runner, render, run, read.

The order of the checks is part of the interface (it decides which error a bad request gets), and is spelled out
in `generate` and `chat`. Ollama: server/routes.go GenerateHandler, ChatHandler.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from corral.config import Settings
from corral.errors import CapabilityError, InvalidRequestError
from corral.gotemplate import Template
from corral.parsers.events import OutputParser
from corral.prompt.gochat import render_messages, render_suffix
from corral.runner.interface import CompletionRequest, Runner
from corral.scheduler.loop import Scheduler
from corral.scheduler.spec import LoadRequest
from corral.service import constraint, prompting
from corral.service.completion import CompletionRun, Stopwatch
from corral.service.embedding import embed
from corral.service.images import prepare_images
from corral.service.loading import load_request
from corral.service.options import parse_options
from corral.service.output import choose_parser, first_call_only, preserved_tokens
from corral.service.profile import ModelProfile, Profiles
from corral.service.ranking import rerank
from corral.service.requests import (
    ChatRequest,
    EmbedRequest,
    EmbedResult,
    Emit,
    GenerateRequest,
    Immediate,
    InferenceOptions,
    RerankRequest,
    RerankResult,
    TokensRequest,
    TokenText,
)
from corral.service.thinking import (
    ThinkingEndedError,
    closed_thinking,
    counted_whole,
    until_content,
    within_budget,
)
from corral.service.tokens import text_of, tokens_of
from corral.service.views import EngineViews
from corral.translate.cache import ViewCache
from corral.types import Capability, Chunk, LoadOptions, Message, SamplingOptions, Think, Tool

__all__ = ["Inference"]

# Rerankers that are asked for yes or no; the engine makes a probability of the two. Its prompt for them is an
# instruction around query and document.
_GENERATIVE_RERANKERS = ("qwen3", "qwen3vl")
_RERANK_PROMPT_TOKENS = 160


@dataclass(frozen=True, slots=True)
class _Turn:
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


class Inference:
    """The service behind every surface that makes text or vectors."""

    def __init__(self, settings: Settings, profiles: Profiles, scheduler: Scheduler) -> None:
        self._settings = settings
        self._profiles = profiles
        self._scheduler = scheduler
        self._views = EngineViews(ViewCache(settings.models_dir))

    async def generate(self, request: GenerateRequest, emit: Emit) -> Immediate | None:
        """Complete a prompt; the answer goes to `emit`, unless there is nothing to generate.

        Raises:
            CorralError: any of its classes; what was emitted before stays emitted.
        """
        common, stopwatch = request.common, Stopwatch()
        _check_top_logprobs(common)
        profile = await self._profiles.get(common.model)
        if not request.prompt and not request.prompt_tokens and common.keep_alive_ns == 0:
            return self._unload(profile)
        if "image" in profile.capabilities:
            raise CapabilityError("image generation models are not currently supported")
        if request.is_raw and (request.template or request.system or request.context):
            raise InvalidRequestError("raw mode does not support template, system, or context")
        think = _resolve_think(profile, common)
        _require(profile, common.model, "generate", ["insert"] if request.suffix else [])
        async with self._turn(profile, common, think, stopwatch) as turn:
            if not request.prompt and not request.prompt_tokens:
                return Immediate("load")
            prompt = await _generate_prompt(turn, request)
            if common.is_render_only:
                return Immediate("", prompt.text, len(prompt.images))
            # A built-in parser gets what the request said, the inferred one what was made of it.
            parser_think = common.think if profile.parser is not None else think
            final = await self._complete(turn, prompt, (), None, parser_think, emit, not request.is_raw)
            if final is not None:
                await emit([final])
            return None

    async def chat(self, request: ChatRequest, emit: Emit) -> Immediate | None:
        """Continue a conversation; the answer goes to `emit`, unless there is nothing to generate.

        Raises:
            CorralError: any of its classes; what was emitted before stays emitted.
        """
        common, stopwatch = request.common, Stopwatch()
        _check_top_logprobs(common)
        profile = await self._profiles.get(common.model)
        if not request.messages and common.keep_alive_ns == 0:
            return self._unload(profile)
        think = _resolve_think(profile, common)
        constraint.check_request(request)
        tools = () if request.tool_choice == "none" else request.tools
        choice = request.tool_choice if request.tools else "auto"
        if not request.parallel_tool_calls:
            emit = first_call_only(emit)
        _require(profile, common.model, "chat", ["tools"] if tools else [])
        async with self._turn(profile, common, think, stopwatch) as turn:
            if not request.messages:
                return Immediate("load")
            messages = prompting.chat_messages(profile, request.messages)
            prompt = await _chat_prompt(turn, messages, tools)
            if common.is_render_only:
                return Immediate("", prompt.text, len(prompt.images))
            final = await self._chat_turns(turn, prompt, messages, tools, choice, emit)
            if final is not None:
                await emit([final])
            return None

    async def count_tokens(self, request: ChatRequest) -> int:
        """How many tokens the prompt of a chat has, uncut; pictures by an estimate.

        Raises:
            CorralError: as `chat` does.
        """
        common, stopwatch = request.common, Stopwatch()
        profile = await self._profiles.get(common.model)
        think = _resolve_think(profile, common)
        tools = () if request.tool_choice == "none" else request.tools
        _require(profile, common.model, "chat", ["tools"] if tools else [])
        async with self._turn(profile, common, think, stopwatch) as turn:
            messages = prompting.chat_messages(profile, request.messages)
            return await prompting.count_tokens(profile, messages, tools, think, turn.runner)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Embed texts.

        Raises:
            CorralError: any of its classes.
        """
        stopwatch = Stopwatch()
        profile = await self._profiles.get(
            request.model, is_exact=request.is_legacy, not_found='model "{}" not found, try pulling it first'
        )
        if profile.is_reranker:
            raise CapabilityError(
                f'"{request.model}" does not support embed: it is a reranker, see /api/rerank'
            )
        load, _ = parse_options(profile.model.parameters, request.options)
        wanted = await self._wanted(profile, load, shift=None)
        async with self._scheduler.lease(wanted, request.keep_alive_ns) as lease:
            stopwatch.grant()
            return await embed(lease.runner, request, stopwatch)

    async def rerank(self, request: RerankRequest) -> RerankResult:
        """Score documents for a query.

        Raises:
            CorralError: any of its classes.
        """
        stopwatch = Stopwatch()
        profile = await self._profiles.get(request.model)
        if not profile.is_reranker:
            raise CapabilityError(f'"{request.model}" does not support rerank')
        load, _ = parse_options(profile.model.parameters, request.options)
        async with self._scheduler.lease(
            await self._wanted(profile, load, shift=None), request.keep_alive_ns
        ) as lease:
            stopwatch.grant()
            is_generative = profile.gguf is not None and profile.gguf.architecture in _GENERATIVE_RERANKERS
            return await rerank(
                lease.runner,
                request,
                stopwatch,
                frame_tokens=_RERANK_PROMPT_TOKENS if is_generative else 0,
                is_probability=is_generative,
            )

    async def tokenize(self, request: TokensRequest) -> TokenText:
        """The tokens of a text.

        Raises:
            CorralError: any of its classes.
        """
        async with self._vocabulary(request) as (_, runner, stopwatch):
            tokens, pieces = await tokens_of(
                runner, request.text, add_special=request.add_special, parse_special=request.parse_special
            )
            return TokenText(request.text, tokens, pieces, stopwatch.total_ns, stopwatch.load_ns)

    async def detokenize(self, request: TokensRequest) -> TokenText:
        """The text of tokens.

        Raises:
            InvalidRequestError: an id that the model does not have.
            CorralError: any other of its classes.
        """
        async with self._vocabulary(request) as (profile, runner, stopwatch):
            text = await text_of(runner, profile, request.tokens)
            return TokenText(text, list(request.tokens), [], stopwatch.total_ns, stopwatch.load_ns)

    @asynccontextmanager
    async def _vocabulary(
        self, request: TokensRequest
    ) -> AsyncIterator[tuple[ModelProfile, Runner, Stopwatch]]:
        """A runner of the model, whatever it was started with: all of them know its tokens."""
        stopwatch = Stopwatch()
        profile = await self._profiles.get(request.model)
        load, _ = parse_options(profile.model.parameters, request.options)
        wanted = replace(await self._wanted(profile, load, shift=None), takes_any_runner=True)
        async with self._scheduler.lease(wanted, request.keep_alive_ns) as lease:
            stopwatch.grant()
            yield profile, lease.runner, stopwatch

    async def _wanted(self, profile: ModelProfile, load: LoadOptions, *, shift: bool | None) -> LoadRequest:
        """What the scheduler is asked for; writes the files for the engine first, where it needs its own."""
        return load_request(profile, await self._views.paths(profile), load, shift=shift)

    def _unload(self, profile: ModelProfile) -> Immediate:
        self._scheduler.unload(profile.weights_key)
        return Immediate("unload")

    @asynccontextmanager
    async def _turn(
        self, profile: ModelProfile, common: InferenceOptions, think: Think, stopwatch: Stopwatch
    ) -> AsyncIterator[_Turn]:
        load, sampling = parse_options(profile.model.parameters, common.options)
        wanted = await self._wanted(profile, load, shift=common.shift)
        async with self._scheduler.lease(wanted, common.keep_alive_ns) as lease:
            stopwatch.grant()
            yield _Turn(profile, common, lease.runner, sampling, think, wanted.context_shift, stopwatch)

    async def _chat_turns(
        self,
        turn: _Turn,
        prompt: prompting.Prompt,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        choice: str,
        emit: Emit,
    ) -> Chunk | None:
        """One run, or two: a format must not bind the thinking before the answer, and that may have a budget."""
        last = messages[-1] if messages else None
        reads_thinking = turn.profile.parser is not None or turn.profile.thinking_tags is not None
        is_free = bool(
            not constraint.is_forced(choice)
            and turn.think
            and reads_thinking
            and "thinking" in turn.profile.capabilities
        )
        is_delayed = is_free and bool(constraint.grammar_of(turn.common))
        if is_free and not is_delayed and turn.common.think_budget is not None:
            return await self._within_budget(turn, prompt, messages, tools, turn.common.think_budget, emit)
        if not is_delayed:
            return await self._complete(turn, prompt, tools, last, turn.think, emit, False, choice)
        thinking: list[str] = []
        watched = until_content(emit, thinking)
        if turn.common.think_budget is not None:
            watched = within_budget(watched, [], turn.common.think_budget)
        free = replace(turn, common=replace(turn.common, format="", grammar=""))
        try:
            return await self._complete(free, prompt, tools, last, turn.think, watched, False, choice)
        except ThinkingEndedError:
            pass
        if thinking:
            messages = [*messages, Message("assistant", thinking="".join(thinking))]
            prompt = await _chat_prompt(turn, messages, tools)
            if turn.profile.is_harmony:
                text = prompt.text + "<|end|><|start|>assistant<|channel|>final<|message|>"
                prompt = replace(prompt, text=text)
        return await self._complete(turn, prompt, (), None, False, emit, False)

    async def _within_budget(
        self,
        turn: _Turn,
        prompt: prompting.Prompt,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        budget: int,
        emit: Emit,
    ) -> Chunk | None:
        """A run that thinks, and when that takes too long another one that goes on behind the thinking."""
        last = messages[-1] if messages else None
        thinking: list[str] = []
        try:
            watched = within_budget(emit, thinking, budget)
            return await self._complete(turn, prompt, tools, last, turn.think, watched, False)
        except ThinkingEndedError:
            pass
        thought, tags = "".join(thinking), turn.profile.thinking_tags
        if tags is not None and turn.profile.parser is None:
            after = replace(prompt, text=closed_thinking(prompt.text, thought, tags))
        else:
            after = await _chat_prompt(turn, [*messages, Message("assistant", thinking=thought)], tools)
        limit = turn.sampling.num_predict
        if limit > 0:
            left = replace(turn.sampling, num_predict=max(limit - len(thinking), 1))
            turn = replace(turn, sampling=left)
        final = await self._complete(turn, after, tools, None, False, emit, False)
        if final is None or prompt.images:
            return final
        text = prompting.without_doubled_bos(prompt.text, turn.profile, turn.runner)
        return counted_whole(final, len(await turn.runner.tokenize(text, add_special=True)))

    async def _complete(
        self,
        turn: _Turn,
        prompt: prompting.Prompt,
        tools: Sequence[Tool],
        last_message: Message | None,
        think: Think,
        emit: Emit,
        wants_context: bool,
        choice: str = "auto",
    ) -> Chunk | None:
        """Run the engine once; returns the last chunk (None: the reply ended without one)."""
        profile, runner = turn.profile, turn.runner
        text = prompting.without_doubled_bos(prompt.text, profile, runner)
        text, images = prompting.with_media_markers(text, prompt.images, runner.facts.media_marker)
        if profile.model.projector_paths:  # without one the engine refuses them, whatever they are
            images = await prepare_images(images)
        content: str | list[int] = text
        cut_count = prompt.dropped_count
        if not images:
            content, token_count = await prompting.fit_tokens(
                text,
                runner,
                turn.sampling,
                num_ctx=turn.num_ctx,
                # A chat by the file's own template goes to the engine as it is, which refuses what does not fit.
                is_allowed=turn.may_truncate and (wants_context or profile.path != "jinja"),
                has_shift=turn.has_shift,
            )
            cut_count += token_count

        def new_parser() -> OutputParser | None:
            return choose_parser(
                profile, text, tools, last_message, think, is_strict=bool(turn.common.format)
            )

        grammar = constraint.tool_grammar(profile, turn.common, tools, choice, think, new_parser())
        run = CompletionRun(
            runner,
            CompletionRequest(
                content,
                _sampling_for(turn.sampling, profile),
                images,
                grammar=grammar,
                top_logprobs=turn.common.top_logprobs if turn.common.logprobs else None,
                preserved_tokens=preserved_tokens(profile, tools),
                logit_bias=turn.common.logit_bias,
            ),
            turn.stopwatch,
            emit,
            parser=new_parser(),
            truncated_count=cut_count,
            wants_text=wants_context,
            has_repeat_guard=profile.path != "jinja",
            # The real server sends a line for every step of a generate whose thinking it reads, empty ones too.
            emits_empty=wants_context and profile.parser is None,
        )
        final = await run.run()
        if final is not None and wants_context:
            final.context = tuple(await runner.tokenize(prompt.text + run.text))
        return final


def _check_top_logprobs(common: InferenceOptions) -> None:
    if not 0 <= common.top_logprobs <= 20:
        raise InvalidRequestError("top_logprobs must be between 0 and 20")


def _resolve_think(profile: ModelProfile, common: InferenceOptions) -> Think:
    """What the request asks for; a model that can think does so unless told otherwise.

    Raises:
        CapabilityError: asked to think, and it cannot.
    """
    can_think = "thinking" in profile.capabilities
    if common.think and not can_think:
        if common.is_think_optional:
            return None
        raise CapabilityError(f'"{common.model}" does not support thinking')
    return True if common.think is None and can_think else common.think


def _require(
    profile: ModelProfile, name: str, verb: Literal["generate", "chat"], wanted: Sequence[Capability]
) -> None:
    if "completion" not in profile.capabilities:
        raise CapabilityError(f'"{name}" does not support {verb}')
    if missing := [capability for capability in wanted if capability not in profile.capabilities]:
        lines = "\n".join(f"does not support {capability}" for capability in missing)
        raise CapabilityError(f"{profile.model.name.full()} {lines}")


def _sampling_for(sampling: SamplingOptions, profile: ModelProfile) -> SamplingOptions:
    if sampling.num_predict == 0:
        # A rendered prompt is sent without a bound then; the engine's own chat route makes one token.
        return replace(sampling, num_predict=1 if profile.path == "jinja" else -1)
    return sampling


async def _chat_prompt(turn: _Turn, messages: Sequence[Message], tools: Sequence[Tool]) -> prompting.Prompt:
    return await prompting.fit_messages(
        turn.profile,
        messages,
        tools,
        turn.think,
        turn.runner,
        num_ctx=turn.num_ctx,
        is_allowed=turn.may_truncate,
    )


async def _generate_prompt(turn: _Turn, request: GenerateRequest) -> prompting.Prompt:
    """The text of a generate request on its path: raw, fill-in-the-middle, custom template, or as a chat.

    Raises:
        TemplateError, ContextOverflowError
    """
    if request.prompt_tokens:
        return prompting.Prompt(await text_of(turn.runner, turn.profile, request.prompt_tokens))
    if request.is_raw:
        return prompting.Prompt(request.prompt, request.images)
    model = turn.profile.model
    if request.suffix:
        template = Template.parse(request.template) if request.template else turn.profile.template
        text = render_suffix(template, request.prompt, request.suffix, turn.think)
        return await _after_context(turn, request, prompting.Prompt(text, request.images))
    messages = [Message("user", request.prompt, images=request.images)]
    if request.context is None:
        messages = [*model.messages, *messages]
    if system := request.system or model.system:
        messages.insert(0, Message("system", system))
    if request.template:
        template = Template.parse(request.template)
        prompt = prompting.Prompt(render_messages(template, messages, (), turn.think), request.images)
    else:
        prompt = await _chat_prompt(turn, messages, ())
    return await _after_context(turn, request, prompt)


async def _after_context(turn: _Turn, request: GenerateRequest, prompt: prompting.Prompt) -> prompting.Prompt:
    """The prompt behind the text of an earlier answer's tokens."""
    if not request.context:
        return prompt
    return replace(prompt, text=await turn.runner.detokenize(request.context) + prompt.text)
