"""The handlers of `/v1/responses`: new responses, and what can be done with stored ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from corral import caller
from corral.api.http.answering import answer
from corral.api.http.bodies import beside_loop, read_compatible
from corral.api.http.exchange import JSON, ClientGoneError, Exchange
from corral.api.openai.errors import service_error
from corral.api.openai.shared import is_sdk
from corral.api.responses.compact import compacted, kept_items
from corral.api.responses.convert import chat_request
from corral.api.responses.encode import ResponseWriter
from corral.api.responses.errors import answer_missing
from corral.api.responses.kept import kept_input, page_of, referenced_ids, with_references
from corral.api.responses.protocol import ResponsesRequest, read_responses
from corral.errors import CorralError, InvalidRequestError, StoreError
from corral.golang.json import encode
from corral.inference.compaction import summarise
from corral.inference.pipeline import Inference
from corral.inference.requests import ChatRequest, Emit, Immediate
from corral.responses.store import KeptResponse, ResponseArchive
from corral.types import Chunk

Item = dict[str, Any]


class ResponseHandlers:
    """Handlers on one inference service and one archive of responses."""

    def __init__(self, service: Inference, archive: ResponseArchive) -> None:
        self._service = service
        self._archive = archive

    async def create(self, exchange: Exchange) -> None:
        if (read := await self._read(exchange)) is None:
            return
        wanted, history = read
        request = await beside_loop(len(wanted.items) + len(history), chat_request, wanted, history)
        writer = ResponseWriter(wanted, is_stored=wanted.store is True, has_usage_details=is_sdk(exchange))
        if wanted.is_stream:
            exchange.extra_headers.append((b"cache-control", b"no-cache"))
        await answer(
            exchange,
            writer,
            lambda emit: self._run(wanted, request, writer, emit),
            is_stream=wanted.is_stream,
        )

    async def _read(self, exchange: Exchange) -> tuple[ResponsesRequest, list[Item]] | None:
        """A request without references, and the items before it; None if some are missing, which was answered."""
        wanted = await read_compatible(exchange, read_responses)
        exchange.user = wanted.user
        previous_id = wanted.previous_response_id
        try:
            history = await self._archive.history(previous_id, _owner()) if previous_id else []
            if ids := referenced_ids(wanted.items):
                found = await self._archive.find_items(ids, _owner())
                wanted = replace(wanted, items=with_references(wanted.items, found))
        except StoreError as error:
            await answer_missing(exchange, error, previous_id=previous_id)
            return None
        return wanted, history

    async def compact(self, exchange: Exchange) -> None:
        """`POST /v1/responses/compact`."""
        if (read := await self._read(exchange)) is None:
            return
        wanted, history = read
        items = [*history, *wanted.items]
        toolless = replace(wanted, tools=(), tool_choice=None)
        request = await beside_loop(len(items), chat_request, toolless, history)
        if not items:
            raise InvalidRequestError("there is nothing to compact: input is empty")

        async def work() -> None:
            summary = await summarise(self._service.chat, request.common, request.messages)
            body = compacted(kept_input(kept_items(items)), summary)
            await exchange.respond(200, encode(body) + b"\n", JSON)

        try:
            await exchange.run_watched(work())
        except ClientGoneError:
            raise
        except CorralError as error:
            if exchange.is_started:
                raise
            await exchange.respond(*service_error(error))

    async def _run(
        self, wanted: ResponsesRequest, request: ChatRequest, writer: ResponseWriter, emit: Emit
    ) -> Immediate | None:
        """Generate, and keep the response before the client learns that it is complete."""

        async def pass_on(chunks: list[Chunk]) -> None:
            writer.feed(chunks)
            await emit(chunks)

        immediate = await self._service.chat(request, pass_on)
        if immediate is not None:
            writer.is_stored = False  # there is nothing to continue from
            writer.feed([Chunk(done=True, done_reason=immediate.done_reason)])
        writer.check_search()
        if wanted.store is not False and immediate is None:
            kept = KeptResponse(
                writer.response_id,
                wanted.previous_response_id,
                writer.final(),
                input=kept_input(wanted.items),
                output=tuple(writer.output),
                owner=_owner(),
            )
            is_kept = await self._archive.save(kept, is_lasting=writer.is_stored)
            writer.is_stored = writer.is_stored and is_kept
        return immediate

    async def find(self, exchange: Exchange) -> None:
        """`GET /v1/responses/:id`."""
        if kept := await self._find(exchange):
            await exchange.respond(200, encode(kept.body) + b"\n", JSON)

    async def input_items(self, exchange: Exchange) -> None:
        """`GET /v1/responses/:id/input_items`."""
        if kept := await self._find(exchange):
            await exchange.respond(200, encode(page_of(kept.input, exchange.query)) + b"\n", JSON)

    async def delete(self, exchange: Exchange) -> None:
        """`DELETE /v1/responses/:id`."""
        response_id = exchange.params["id"]
        try:
            await self._archive.delete(response_id, _owner())
        except CorralError as error:
            await answer_missing(exchange, error)
            return
        answered = {"id": response_id, "object": "response", "deleted": True}
        await exchange.respond(200, encode(answered) + b"\n", JSON)

    async def _find(self, exchange: Exchange) -> KeptResponse | None:
        try:
            return await self._archive.find(exchange.params["id"], _owner())
        except CorralError as error:
            await answer_missing(exchange, error)
            return None


def _owner() -> str:
    """Whose responses the caller may use: those of its key, or those that were made without one."""
    return caller.current().key_id
