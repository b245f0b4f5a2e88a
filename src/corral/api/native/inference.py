"""`/api/generate`, `/api/chat`, `/api/embed` and `/api/embeddings`."""

from __future__ import annotations

from typing import Protocol

from corral.api.http.answering import Whole, answer
from corral.api.http.bodies import read_request
from corral.api.http.errors import body_of, is_worker_error, status_of
from corral.api.http.exchange import JSON, JSON_UTF8, NDJSON, Exchange
from corral.api.http.pieces import joined_rows, send_pieces
from corral.api.native.encode import ChatEncoder, GenerateEncoder, merge_chunks
from corral.api.native.protocol import read_chat, read_embed, read_embeddings, read_generate
from corral.errors import CorralError
from corral.golang.json import encode_float32_list, encode_float64_list, escape_string
from corral.inference.pipeline import Inference
from corral.inference.requests import EmbedRequest, Emit, Immediate
from corral.types import Chunk


class _LineEncoder(Protocol):
    def line(self, chunk: Chunk) -> bytes: ...

    def immediate(self, answer: Immediate) -> bytes: ...


class InferenceHandlers:
    """Handlers on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def generate(self, exchange: Exchange) -> None:
        request, is_stream = await read_request(exchange, read_generate)
        await answer(
            exchange,
            _NativeWriter(GenerateEncoder(request.common.model), keeps_calls=False),
            lambda emit: self._service.generate(request, _without_calls(emit)),
            is_stream=is_stream,
        )

    async def chat(self, exchange: Exchange) -> None:
        request, is_stream = await read_request(exchange, read_chat)
        await answer(
            exchange,
            _NativeWriter(ChatEncoder(request.common.model), keeps_calls=bool(request.tools)),
            lambda emit: self._service.chat(request, emit),
            is_stream=is_stream,
        )

    async def embed(self, exchange: Exchange) -> None:
        request = await read_request(exchange, read_embed)
        await exchange.run_watched(self._embed(exchange, request))

    async def embeddings(self, exchange: Exchange) -> None:
        request = await read_request(exchange, read_embeddings)
        await exchange.run_watched(self._embed(exchange, request))

    async def _embed(self, exchange: Exchange, request: EmbedRequest) -> None:
        result = await self._service.embed(request)
        if request.is_legacy:
            vector = encode_float64_list(result.embeddings[0]) if result.embeddings else b"[]"
            await exchange.respond(200, b'{"embedding":' + vector + b"}", JSON_UTF8)
            return
        members = (
            (b"total_duration", result.total_duration_ns),
            (b"load_duration", result.load_duration_ns),
            (b"prompt_eval_count", result.prompt_count),
        )
        rest = b"".join([b',"%s":%d' % (name, value) for name, value in members if value])
        head = b'{"model":' + escape_string(request.model) + b',"embeddings":['
        rows = map(encode_float32_list, result.embeddings)
        await send_pieces(exchange, JSON_UTF8, joined_rows(head, rows, b"]" + rest + b"}"))


def _without_calls(emit: Emit) -> Emit:
    """Generate has no tools: calls that a parser finds on the way are not part of its answer."""

    async def pass_on(chunks: list[Chunk]) -> None:
        for chunk in chunks:
            if not chunk.done:
                chunk.tool_calls = ()
        await emit(chunks)

    return pass_on


class _NativeWriter:
    """Lines of JSON, or one object.

    A whole answer to a request that offered no tools has only the calls that came with its end, as Ollama's.
    """

    stream_type = NDJSON

    def __init__(self, encoder: _LineEncoder, *, keeps_calls: bool) -> None:
        self._encoder = encoder
        self._keeps_calls = keeps_calls

    def stream(self, chunks: list[Chunk]) -> bytes:
        line = self._encoder.line
        return b"".join([line(chunk) + b"\n" for chunk in chunks])

    def stream_end(self) -> bytes:
        return b""

    def stream_error(self, error: CorralError) -> bytes:
        return body_of(error) + b"\n"

    def whole(self, chunks: list[Chunk]) -> Whole:
        return self._encoder.line(merge_chunks(chunks, keeps_calls=self._keeps_calls)), JSON_UTF8

    def immediate(self, answer: Immediate, *, is_stream: bool) -> Whole:
        return self._encoder.immediate(answer), JSON_UTF8

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        content_type = JSON if is_stream and is_worker_error(error) else JSON_UTF8
        return status_of(error), body_of(error), content_type
