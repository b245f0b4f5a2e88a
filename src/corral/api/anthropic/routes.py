"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

from corral.api.anthropic.convert import chat_request, estimate_tokens, has_search
from corral.api.anthropic.encode import MessageForm
from corral.api.anthropic.errors import envelope, service_error
from corral.api.anthropic.protocol import read_count, read_messages
from corral.api.http.answering import answer
from corral.api.http.bodies import beside_loop, parse_body, read_packed_body
from corral.api.http.exchange import JSON, ClientGoneError, Exchange
from corral.errors import CorralError
from corral.inference.pipeline import Inference


class AnthropicRoutes:
    """Handlers on one inference service."""

    def __init__(self, service: Inference, *, max_body_bytes: int, max_depth: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._max_depth = max_depth

    async def messages(self, exchange: Exchange) -> None:
        exchange.error_encoder = envelope
        body = await read_packed_body(exchange, self._max_body_bytes)
        wanted = await parse_body(body, read_messages, self._max_depth)
        exchange.user = wanted.user
        request = await beside_loop(len(wanted.messages), chat_request, wanted)
        form = MessageForm(
            wanted.model,
            estimate=await beside_loop(len(wanted.messages), estimate_tokens, wanted),
            keeps_calls=bool(request.tools),
            has_search=has_search(wanted),
            stop_sequences=wanted.stop_sequences,
        )
        if wanted.is_stream:
            exchange.extra_headers.append((b"cache-control", b"no-cache"))
        await answer(
            exchange, form, lambda emit: self._service.chat(request, emit), is_stream=wanted.is_stream
        )

    async def count_tokens(self, exchange: Exchange) -> None:
        exchange.error_encoder = envelope
        body = await read_packed_body(exchange, self._max_body_bytes)
        wanted = await parse_body(body, read_count, self._max_depth)
        request = await beside_loop(len(wanted.messages), chat_request, wanted)

        async def work() -> None:
            count = await self._service.count_tokens(request)
            await exchange.respond(200, b'{"input_tokens":%d}\n' % count, JSON)

        try:
            await exchange.run_watched(work())
        except ClientGoneError:
            raise
        except CorralError as error:
            if exchange.is_started:
                raise
            await exchange.respond(*service_error(error))
