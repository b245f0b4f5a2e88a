"""`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from corral.api.http.answering import answer
from corral.api.http.bodies import parse_body, read_packed_body
from corral.api.http.exchange import JSON, ClientGoneError, Exchange
from corral.api.http.pieces import joined_rows, send_pieces
from corral.api.openai.chat_form import ChatForm
from corral.api.openai.choices import Run, run_choices
from corral.api.openai.completion_form import CompletionForm
from corral.api.openai.errors import envelope, service_error
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
from corral.golang.json import encode_float32_list, escape_string
from corral.inference.pipeline import Inference
from corral.inference.requests import (
    ChatRequest,
    EmbedResult,
    Emit,
    GenerateRequest,
    Immediate,
    InferenceOptions,
)

_IS_BIG_ENDIAN = sys.byteorder == "big"


class OpenAIInferenceRoutes:
    """Handlers on one inference service."""

    def __init__(self, service: Inference, *, max_body_bytes: int, max_depth: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._max_depth = max_depth

    async def _body(self, exchange: Exchange) -> bytes:
        exchange.error_encoder = envelope
        return await read_packed_body(exchange, self._max_body_bytes)

    async def chat(self, exchange: Exchange) -> None:
        call = await parse_body(await self._body(exchange), read_chat, self._max_depth)
        exchange.user = call.answer.user
        is_official = is_sdk(exchange)
        form = ChatForm(
            call.request.common.model,
            choice_count=call.answer.choice_count,
            keeps_calls=bool(call.request.tools),
            has_stream_usage=call.answer.has_stream_usage,
            has_usage_details=is_official or call.answer.wants_usage_details,
            has_reasoning_content=is_official or call.wants_reasoning_content,
        )
        runs = self._chat_runs(call)
        await answer(exchange, form, partial(run_choices, runs), is_stream=call.answer.is_stream)

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
        call = await parse_body(await self._body(exchange), read_completion, self._max_depth)
        exchange.user = call.answer.user
        given = call.answer.choice_count
        made = max(call.best_of, given)
        form = CompletionForm(
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
        await answer(exchange, form, partial(run_choices, runs), is_stream=call.answer.is_stream)

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
        call = await parse_body(await self._body(exchange), read_embeddings, self._max_depth)
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


def embedding_parts(call: EmbeddingsCall, result: EmbedResult) -> tuple[bytes, Iterator[bytes], bytes]:
    """The answer: what stands before the vectors, the vectors, and what stands after them."""
    rows = (
        b'{"object":"embedding","embedding":%s,"index":%d}' % (_vector(row, is_base64=call.is_base64), index)
        for index, row in enumerate(result.embeddings)
    )
    count = result.prompt_count
    usage = b'"usage":{"prompt_tokens":%d,"total_tokens":%d}' % (count, count)
    return b'{"object":"list","data":[', rows, b'],"model":%s,%s}\n' % (escape_string(call.model), usage)


def _vector(row: Sequence[float], *, is_base64: bool) -> bytes:
    if not is_base64:
        return encode_float32_list(row)
    numbers = array("f", row)
    if _IS_BIG_ENDIAN:
        numbers.byteswap()
    return b'"' + base64.b64encode(numbers.tobytes()) + b'"'
