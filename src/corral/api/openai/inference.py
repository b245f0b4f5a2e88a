"""`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from corral.api.http.answering import answer
from corral.api.http.bodies import read_compatible
from corral.api.http.exchange import JSON, ClientGoneError, Exchange
from corral.api.http.pieces import joined_rows, send_pieces
from corral.api.openai.chat_writer import ChatWriter
from corral.api.openai.choices import Run, run_choices
from corral.api.openai.completion_writer import CompletionWriter
from corral.api.openai.encode import embedding_parts
from corral.api.openai.errors import service_error
from corral.api.openai.protocol import (
    ChatCall,
    CompletionCall,
    EmbeddingsCall,
    read_chat,
    read_completion,
    read_embeddings,
)
from corral.api.openai.sampling import seeded
from corral.api.openai.shared import is_sdk
from corral.errors import CorralError
from corral.inference.pipeline import Inference
from corral.inference.requests import (
    ChatRequest,
    Emit,
    GenerateRequest,
    Immediate,
    InferenceOptions,
)


class InferenceHandlers:
    """Handlers on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def chat(self, exchange: Exchange) -> None:
        call = await read_compatible(exchange, read_chat)
        exchange.user = call.answer.user
        is_official = is_sdk(exchange)
        writer = ChatWriter(
            call.request.common.model,
            choice_count=call.answer.choice_count,
            keeps_calls=bool(call.request.tools),
            has_stream_usage=call.answer.has_stream_usage,
            has_usage_details=is_official or call.answer.wants_usage_details,
            has_reasoning_content=is_official or call.wants_reasoning_content,
        )
        runs = self._chat_runs(call)
        await answer(exchange, writer, partial(run_choices, runs), is_stream=call.answer.is_stream)

    def _chat_runs(self, call: ChatCall) -> list[Run]:
        request = call.request
        count = call.answer.choice_count
        if not request.messages or request.common.is_render_only:
            count = 1  # nothing is generated, so nothing can differ

        async def run(emit: Emit, *, asked: ChatRequest) -> Immediate | None:
            return await self._service.chat(asked, emit)

        return [
            partial(run, asked=replace(request, common=_nth(request.common, choice)))
            for choice in range(count)
        ]

    async def completions(self, exchange: Exchange) -> None:
        call = await read_compatible(exchange, read_completion)
        exchange.user = call.answer.user
        given = call.answer.choice_count
        made = max(call.best_of, given)
        writer = CompletionWriter(
            call.requests[0].common.model,
            prompt_count=len(call.requests),
            given_per_prompt=given,
            made_per_prompt=made,
            echoes=[request.prompt for request in call.requests] if call.echoes else (),
            logprob_count=call.logprob_count,
            has_stream_usage=call.answer.has_stream_usage,
            has_usage_details=is_sdk(exchange) or call.answer.wants_usage_details,
        )
        runs = self._completion_runs(call, made, is_ranked=made > given)
        await answer(exchange, writer, partial(run_choices, runs), is_stream=call.answer.is_stream)

    def _completion_runs(self, call: CompletionCall, made: int, *, is_ranked: bool) -> list[Run]:
        async def run(emit: Emit, *, asked: GenerateRequest) -> Immediate | None:
            return await self._service.generate(asked, emit)

        runs: list[Run] = []
        for request in call.requests:
            common = replace(request.common, logprobs=True) if is_ranked else request.common
            runs += [
                partial(run, asked=replace(request, common=_nth(common, choice))) for choice in range(made)
            ]
        return runs

    async def embeddings(self, exchange: Exchange) -> None:
        call = await read_compatible(exchange, read_embeddings)
        exchange.user = call.user
        await exchange.run_watched(self._embed(exchange, call))

    async def _embed(self, exchange: Exchange, call: EmbeddingsCall) -> None:
        try:
            result = await self._service.embed(call.request)
        except ClientGoneError:
            raise
        except CorralError as error:
            await exchange.respond(*service_error(error))
            return
        await send_pieces(exchange, JSON, joined_rows(*embedding_parts(call, result)))


def _nth(common: InferenceOptions, choice: int) -> InferenceOptions:
    return replace(common, options=seeded(common.options or {}, choice)) if choice else common
