"""`POST /v1/responses`, and what can be done with kept responses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from corral.api.http.answering import answer
from corral.api.http.bodies import beside_loop, parse_body, read_packed_body
from corral.api.http.exchange import JSON, ClientGoneError, Exchange
from corral.api.openai.errors import envelope, service_error
from corral.api.openai.shared import is_sdk
from corral.api.responses.compact import compacted, kept_items
from corral.api.responses.convert import chat_request
from corral.api.responses.encode import ResponseForm
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


class ResponsesRoutes:
    """Handlers on one inference service and one archive of responses."""

    def __init__(
        self, service: Inference, archive: ResponseArchive, *, max_body_bytes: int, max_depth: int
    ) -> None:
        self._service = service
        self._archive = archive
        self._max_body_bytes = max_body_bytes
        self._max_depth = max_depth

    async def create(self, exchange: Exchange) -> None:
        if (read := await self._read(exchange)) is None:
            return
        wanted, history = read
        request = await beside_loop(len(wanted.items) + len(history), chat_request, wanted, history)
        form = ResponseForm(wanted, is_stored=wanted.store is True, has_usage_details=is_sdk(exchange))
        if wanted.is_stream:
            exchange.extra_headers.append((b"cache-control", b"no-cache"))
        await answer(
            exchange, form, lambda emit: self._run(wanted, request, form, emit), is_stream=wanted.is_stream
        )

    async def _read(self, exchange: Exchange) -> tuple[ResponsesRequest, list[Item]] | None:
        """A request without references, and the items before it; None if some are missing, which was said."""
        exchange.error_encoder = envelope
        body = await read_packed_body(exchange, self._max_body_bytes)
        wanted = await parse_body(body, read_responses, self._max_depth)
        exchange.user = wanted.user
        previous_id = wanted.previous_response_id
        try:
            history = await self._archive.history(previous_id) if previous_id else []
            if ids := referenced_ids(wanted.items):
                found = await self._archive.find_items(ids)
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
        self, wanted: ResponsesRequest, request: ChatRequest, form: ResponseForm, emit: Emit
    ) -> Immediate | None:
        """Generate, and keep the response before the client learns that it is complete."""

        async def pass_on(chunks: list[Chunk]) -> None:
            form.feed(chunks)
            await emit(chunks)

        immediate = await self._service.chat(request, pass_on)
        if immediate is not None:
            form.is_stored = False  # there is nothing to continue from
            form.feed([Chunk(done=True, done_reason=immediate.done_reason)])
        form.check_search()
        if wanted.store is not False and immediate is None:
            kept = KeptResponse(
                form.response_id,
                wanted.previous_response_id,
                form.final(),
                input=kept_input(wanted.items),
                output=tuple(form.output),
            )
            is_kept = await self._archive.save(kept, is_lasting=form.is_stored)
            form.is_stored = form.is_stored and is_kept
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
        exchange.error_encoder = envelope
        response_id = exchange.params["id"]
        try:
            await self._archive.delete(response_id)
        except CorralError as error:
            await answer_missing(exchange, error)
            return
        answered = {"id": response_id, "object": "response", "deleted": True}
        await exchange.respond(200, encode(answered) + b"\n", JSON)

    async def _find(self, exchange: Exchange) -> KeptResponse | None:
        exchange.error_encoder = envelope
        try:
            return await self._archive.find(exchange.params["id"])
        except CorralError as error:
            await answer_missing(exchange, error)
            return None
