"""The handlers of `/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

from corral.api.anthropic.convert import chat_request, estimate_tokens, has_search
from corral.api.anthropic.encode import MessageWriter
from corral.api.anthropic.errors import service_error
from corral.api.anthropic.protocol import read_count, read_messages
from corral.api.http.answering import answer
from corral.api.http.bodies import beside_loop, read_compatible
from corral.api.http.exchange import JSON, ClientGoneError, Exchange
from corral.errors import CorralError
from corral.inference.pipeline import Inference


class MessageHandlers:
    """Handlers on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def messages(self, exchange: Exchange) -> None:
        wanted = await read_compatible(exchange, read_messages)
        exchange.user = wanted.user
        request = await beside_loop(len(wanted.messages), chat_request, wanted)
        writer = MessageWriter(
            wanted.model,
            estimate=await beside_loop(len(wanted.messages), estimate_tokens, wanted),
            keeps_calls=bool(request.tools),
            has_search=has_search(wanted),
            stop_sequences=wanted.stop_sequences,
        )
        if wanted.is_stream:
            exchange.extra_headers.append((b"cache-control", b"no-cache"))
        await answer(
            exchange, writer, lambda emit: self._service.chat(request, emit), is_stream=wanted.is_stream
        )

    async def count_tokens(self, exchange: Exchange) -> None:
        wanted = await read_compatible(exchange, read_count)
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
