"""One pipeline for generate and chat: check, get a runner, render, run, read.

The order of the checks is part of the interface (it decides which error a bad request gets), and is spelled out
in `generate` and `chat`. Ollama: server/routes.go GenerateHandler, ChatHandler.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from corral import caller, deadline, tracenotes
from corral.config import Settings
from corral.configfile.rules import ruled_options
from corral.configfile.sections import ModelSection
from corral.errors import CapabilityError, InvalidRequestError
from corral.golang.quote import quoted
from corral.inference import constraint, prompting
from corral.inference.completion import Stopwatch
from corral.inference.decision import DecisionRequest, DecisionResult, decide
from corral.inference.decision import check_request as check_decision
from corral.inference.embedding import embed
from corral.inference.engine_files import EngineFiles
from corral.inference.generation import Turn, chat_prompt, generate_prompt
from corral.inference.loading import check_weights, load_request
from corral.inference.options import parse_options, requested_num_ctx
from corral.inference.profile import ModelProfile, Profiles, checked_name
from corral.inference.ranking import rerank
from corral.inference.reply import chat_reply, complete
from corral.inference.reply_parser import first_call_only
from corral.inference.requests import (
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
from corral.inference.speculation import draft_kind_of
from corral.inference.tokens import check_tokens, text_of, tokens_of
from corral.runner.interface import Runner
from corral.runner.metered import metered
from corral.scheduler.loop import Lease, Scheduler
from corral.scheduler.spec import LoadRequest
from corral.types import Capability, LoadOptions, Think
from corral.weights.architectures import architecture
from corral.weights.translate.cache import TranslatedFiles

# The prompt of the engine for rerankers that are asked for yes or no: an instruction around query and document.
_RERANK_PROMPT_TOKENS = 160
_MAX_MESSAGES = 16_384
_MAX_TOOLS = 2048


class Inference:
    """The service for every surface that makes text or vectors."""

    def __init__(
        self, settings: Settings, profiles: Profiles, scheduler: Scheduler, translations: TranslatedFiles
    ) -> None:
        self._settings = settings
        self._profiles = profiles
        self._scheduler = scheduler
        self._views = EngineFiles(translations)

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
        check_weights(profile)
        if "image" in profile.capabilities:
            raise CapabilityError("image generation models are not currently supported")
        if request.is_raw and (request.template or request.system or request.context):
            raise InvalidRequestError("raw mode does not support template, system, or context")
        think = _resolve_think(profile, common)
        _require(profile, common.model, "generate", ["insert"] if request.suffix else [])
        is_preload = not request.prompt and not request.prompt_tokens
        async with self._turn(profile, common, think, stopwatch, is_preload=is_preload) as turn:
            if is_preload:
                return Immediate("load")
            with tracenotes.phase("render"):
                prompt = await generate_prompt(turn, request)
            if common.is_render_only:
                return Immediate("", prompt.text, len(prompt.images))
            parser_think = common.think if profile.chat.quirks.reads_given_think else think
            final = await complete(turn, prompt, (), None, parser_think, emit, not request.is_raw)
            if final is not None:
                await emit([final])
            return None

    async def chat(self, request: ChatRequest, emit: Emit) -> Immediate | None:
        """Continue a conversation; the answer goes to `emit`, unless there is nothing to generate.

        Raises:
            CorralError: any of its classes; what was emitted before stays emitted.
        """
        common, stopwatch = request.common, Stopwatch()
        _check_length(request)
        _check_top_logprobs(common)
        profile = await self._profiles.get(common.model)
        if not request.messages and common.keep_alive_ns == 0:
            return self._unload(profile)
        check_weights(profile)
        think = _resolve_think(profile, common)
        constraint.check_request(request)
        tools = () if request.tool_choice == "none" else request.tools
        choice = request.tool_choice if request.tools else "auto"
        if not request.parallel_tool_calls:
            emit = first_call_only(emit)
        _require(profile, common.model, "chat", ["tools"] if tools else [])
        is_preload = not request.messages
        async with self._turn(profile, common, think, stopwatch, is_preload=is_preload) as turn:
            if is_preload:
                return Immediate("load")
            messages = prompting.chat_messages(profile, request.messages)
            with tracenotes.phase("render"):
                prompt = await chat_prompt(turn, messages, tools)
            if common.is_render_only:
                return Immediate("", prompt.text, len(prompt.images))
            final = await chat_reply(turn, prompt, messages, tools, choice, emit)
            if final is not None:
                await emit([final])
            return None

    async def count_tokens(self, request: ChatRequest) -> int:
        """How many tokens the prompt of a chat has, uncut; images by an estimate.

        Raises:
            CorralError: as `chat` does.
        """
        common, stopwatch = request.common, Stopwatch()
        _check_length(request)
        profile = await self._profiles.get(common.model)
        check_weights(profile)
        think = _resolve_think(profile, common)
        tools = () if request.tool_choice == "none" else request.tools
        _require(profile, common.model, "chat", ["tools"] if tools else [])
        async with self._turn(profile, common, think, stopwatch) as turn:
            messages = prompting.chat_messages(profile, request.messages)
            return await prompting.count_tokens(profile, messages, tools, think, turn.runner)

    async def decide(self, request: DecisionRequest) -> DecisionResult:
        """Answer typed questions with probabilities.

        Raises:
            CorralError: any of its classes.
        """
        profile = await self._profiles.get(request.model)
        check_decision(profile, request)
        common = InferenceOptions(
            request.model, keep_alive_ns=request.keep_alive_ns, think=False, truncate=False
        )
        async with self._turn(profile, common, False, Stopwatch()) as turn:
            return await decide(turn, request)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Embed texts.

        Raises:
            CorralError: any of its classes.
        """
        stopwatch = Stopwatch()
        if not request.is_readable:
            checked_name(request.model)  # what is wrong with the name is said first
            raise InvalidRequestError("invalid input type")
        profile = await self._profiles.get(
            request.model,
            is_exact=request.is_legacy,
            not_found=f"model {quoted(request.model)} not found, try pulling it first",
        )
        if profile.is_reranker:
            raise CapabilityError(
                f"{quoted(request.model)} does not support embed: it is a reranker, see /api/rerank"
            )
        section, stored, options = self._ruled(profile, request.options)
        load, _ = parse_options(stored, options)
        deadline.tighten_by(options)
        wanted = await self._wanted(profile, load, section, shift=None)
        wanted = replace(wanted, is_preload=not request.inputs)
        async with self._lease(wanted, request.keep_alive_ns, section) as lease:
            stopwatch.grant()
            num_ctx = requested_num_ctx(stored, options)
            async with deadline.Limit():
                return await embed(lease.runner, request, stopwatch, num_ctx=num_ctx)

    async def rerank(self, request: RerankRequest) -> RerankResult:
        """Score documents for a query.

        Raises:
            CorralError: any of its classes.
        """
        stopwatch = Stopwatch()
        profile = await self._profiles.get(request.model)
        check_weights(profile)
        if not profile.is_reranker:
            raise CapabilityError(f"{quoted(request.model)} does not support rerank")
        section, stored, options = self._ruled(profile, request.options)
        load, _ = parse_options(stored, options)
        deadline.tighten_by(options)
        wanted = await self._wanted(profile, load, section, shift=None)
        async with self._lease(wanted, request.keep_alive_ns, section) as lease:
            stopwatch.grant()
            is_generative = (
                profile.gguf is not None and architecture(profile.gguf.architecture).reranks_by_answer
            )
            async with deadline.Limit():
                return await rerank(
                    lease.runner,
                    request,
                    stopwatch,
                    frame_tokens=_RERANK_PROMPT_TOKENS if is_generative else 0,
                    is_probability=is_generative,
                )

    async def load(self, name: str, keep_alive_ns: int | None = None) -> None:
        """Load a model as a request without options would; by default it stays as long as after such a request.

        Raises:
            CorralError: any of its classes.
        """
        profile = await self._profiles.get(name)
        section, stored, options = self._ruled(profile, None)
        load, _ = parse_options(stored, options)
        wanted = replace(await self._wanted(profile, load, section, shift=None), is_preload=True)
        async with self._lease(wanted, keep_alive_ns, section):
            pass

    async def unload(self, name: str) -> None:
        """Free the memory of a model once nothing of it is under way.

        Raises:
            CorralError: any of its classes.
        """
        self._unload(await self._profiles.get(name))

    async def tokenize(self, request: TokensRequest) -> TokenText:
        """The tokens of a text.

        Raises:
            CorralError: any of its classes.
        """
        async with self._vocabulary(request) as (_, runner, stopwatch):
            tokens, pieces = await tokens_of(
                runner,
                request.text,
                add_special=request.add_special,
                parse_special=request.parse_special,
                wants_pieces=request.wants_pieces,
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
        section, stored, options = self._ruled(profile, request.options)
        load, _ = parse_options(stored, options)
        deadline.tighten_by(options)
        wanted = replace(await self._wanted(profile, load, section, shift=None), takes_any_runner=True)
        async with self._lease(wanted, request.keep_alive_ns, section) as lease:
            stopwatch.grant()
            yield profile, lease.runner, stopwatch

    def _ruled(
        self,
        profile: ModelProfile,
        options: Mapping[str, Any] | None,
        implied: frozenset[str] = frozenset(),
    ) -> tuple[ModelSection, Mapping[str, Any], Mapping[str, Any] | None]:
        """What the configuration says of the model; its parameters and the options of a request by that."""
        section = self._profiles.rules.section(profile.model.name)
        return section, *ruled_options(section, profile.parameters, options, implied)

    async def _wanted(
        self,
        profile: ModelProfile,
        load: LoadOptions,
        section: ModelSection,
        *,
        shift: bool | None,
        needs_logprobs: bool = False,
    ) -> LoadRequest:
        """What the scheduler is asked for; writes the files for the engine first, where it needs its own."""
        draft_path = await self._draft(section.draft) if section.draft else None
        return load_request(
            profile,
            await self._views.paths(profile),
            load,
            shift=shift,
            engine=section.engine,
            draft_path=draft_path,
            draft_kind=await asyncio.to_thread(draft_kind_of, draft_path) if draft_path else None,
            needs_logprobs=needs_logprobs,
        )

    async def _draft(self, name: str) -> Path | None:
        """The weights of a draft model, by the path of the file or the name of the model."""
        if name.endswith(".gguf"):
            return Path(name).expanduser()
        profile = await self._profiles.get(name)
        check_weights(profile)
        return profile.model.weights_path

    @asynccontextmanager
    async def _lease(
        self, wanted: LoadRequest, keep_alive_ns: int | None, section: ModelSection
    ) -> AsyncIterator[Lease]:
        """A lease, unless the request's time is up before there is one; what is limited is counted on its runner."""
        lasting_ns = section.keep_alive_ns if keep_alive_ns is None else keep_alive_ns
        async with AsyncExitStack() as stack:
            async with deadline.Limit():
                lease = await stack.enter_async_context(self._scheduler.lease(wanted, lasting_ns))
            yield replace(lease, runner=metered(lease.runner))

    def _unload(self, profile: ModelProfile) -> Immediate:
        caller.require_scope("manage", "unload models")
        self._scheduler.unload(profile.weights_key)
        return Immediate("unload")

    @asynccontextmanager
    async def _turn(
        self,
        profile: ModelProfile,
        common: InferenceOptions,
        think: Think,
        stopwatch: Stopwatch,
        *,
        is_preload: bool = False,
    ) -> AsyncIterator[Turn]:
        section, stored, options = self._ruled(profile, common.options, common.implied)
        load, sampling = parse_options(stored, options)
        deadline.tighten_by(options)
        wanted = await self._wanted(
            profile, load, section, shift=common.shift, needs_logprobs=common.logprobs
        )
        wanted = replace(wanted, is_preload=is_preload)
        async with self._lease(wanted, common.keep_alive_ns, section) as lease:
            stopwatch.grant()
            check_tokens(profile, (token for token, _ in common.logit_bias))
            yield Turn(profile, common, lease.runner, sampling, think, wanted.context_shift, stopwatch)


def _check_length(request: ChatRequest) -> None:
    """What is done once for each message or tool adds up, and the event loop does some of it."""
    for what, count, limit in (
        ("messages", len(request.messages), _MAX_MESSAGES),
        ("tools", len(request.tools), _MAX_TOOLS),
    ):
        if count > limit:
            raise InvalidRequestError(f"too many {what}: {count} (at most {limit})")


def _check_top_logprobs(common: InferenceOptions) -> None:
    if not 0 <= common.top_logprobs <= 20:
        raise InvalidRequestError("top_logprobs must be between 0 and 20")


def _resolve_think(profile: ModelProfile, common: InferenceOptions) -> Think:
    """What the request asks for; a model that can think does so by default.

    Raises:
        CapabilityError: asked to think, and it cannot.
    """
    can_think = "thinking" in profile.capabilities
    if common.think and not can_think:
        if common.is_think_optional:
            return None
        raise CapabilityError(f"{quoted(common.model)} does not support thinking")
    return True if common.think is None and can_think else common.think


def _require(
    profile: ModelProfile, name: str, verb: Literal["generate", "chat"], wanted: Sequence[Capability]
) -> None:
    if "completion" not in profile.capabilities:
        raise CapabilityError(f"{quoted(name)} does not support {verb}")
    if missing := [capability for capability in wanted if capability not in profile.capabilities]:
        lines = "\n".join(f"does not support {capability}" for capability in missing)
        raise CapabilityError(f"{profile.model.name.full()} {lines}")
