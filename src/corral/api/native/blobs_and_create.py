"""The handlers that make models: blobs, files of this machine, create."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from corral.api.http.bodies import read_values
from corral.api.http.errors import error_body
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.native.progress import answer_with_progress
from corral.api.native.protocol import CREATE, LOCAL_BLOB
from corral.digest import Digest
from corral.errors import DigestMismatchError
from corral.golang.json import encode
from corral.golang.quote import quoted
from corral.library.blob_access import BlobAccess
from corral.library.create.local import LocalFiles
from corral.library.create.modelfile_member import with_modelfile
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.store.blobs import PutResult
from corral.store.locks import store_lock
from corral.store.models import ModelStore
from corral.store.prune import keep_for_a_while
from corral.types import Message, Report


class CreateHandlers:
    """Handlers on the blob store and the creator."""

    def __init__(
        self,
        store: ModelStore,
        creator: Creator,
        local_files: LocalFiles,
        access: BlobAccess,
    ) -> None:
        self._store = store
        self._access = access
        self._creator = creator
        self._local_files = local_files

    async def blob_exists(self, exchange: Exchange) -> None:
        digest = Digest.parse(exchange.params["digest"])
        if await asyncio.to_thread(self._is_visible, digest):
            await exchange.respond(200)
        else:
            text = f"blob {quoted(exchange.params['digest'])} not found"
            await exchange.respond(404, error_body(text), JSON_UTF8)

    async def blob_upload(self, exchange: Exchange) -> None:
        given = exchange.params["digest"]
        digest = Digest.parse(given)
        if await asyncio.to_thread(self._access.may_use, digest) and await asyncio.to_thread(
            self._keep_existing, digest
        ):
            if exchange.header(b"connection").lower() == "close":
                # The connection ends with the answer, and a client that still writes would not get to read it.
                async for _ in _body(exchange):
                    continue
            await exchange.respond(200)
            return
        await asyncio.to_thread(self._store.blobs.check_space, exchange.header(b"content-length"))
        await asyncio.to_thread(keep_for_a_while, self._store, digest)
        result: PutResult = await self._store.blobs.put(_body(exchange))
        if result.digest != digest:
            await asyncio.to_thread(keep_for_a_while, self._store, result.digest)
        self._access.note_sent(result.digest)
        if str(result.digest) != given:
            raise DigestMismatchError(given, str(result.digest))
        await exchange.respond(201)

    def _is_visible(self, digest: Digest) -> bool:
        return self._store.blobs.has(digest) and self._access.may_use(digest)

    def _keep_existing(self, digest: Digest) -> bool:
        """Whether a blob is present that somebody would upload; it is then kept for a while, as if it came now."""
        blobs = self._store.blobs
        with store_lock(blobs.folder):
            if is_present := blobs.has(digest):
                keep_for_a_while(self._store, digest)
        return is_present

    async def token_file(self, exchange: Exchange) -> None:
        """Where a program on this machine finds the token that proves that it may read what the server may read."""
        path = await asyncio.to_thread(self._local_files.token_file)
        await exchange.respond(200, encode({"token_file": str(path)}), JSON_UTF8)

    async def take_in(self, exchange: Exchange) -> None:
        """Make a blob of a file of this machine."""
        values = await read_values(exchange, "LocalBlobRequest", LOCAL_BLOB)
        self._local_files.check(values.get("token", ""), exchange.header(b"origin"))
        source = self._local_files.parse(values.get("path", ""), values.get("mode", "link"))

        async def work(report: Report) -> None:
            async def note(event: dict[str, Any]) -> None:
                if event.get("status") == "success":
                    self._access.note_sent(Digest.parse(event["digest"]))
                await report(event)

            await self._local_files.take_in(source, note)

        await answer_with_progress(exchange, values.get("stream", True), work)

    async def create(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "CreateRequest", CREATE)
        messages: tuple[Message, ...] = values.get("messages", ())
        request = CreateRequest(
            model=values.get("model") or values.get("name", ""),
            from_=values.get("from", ""),
            files=values.get("files"),
            adapters=values.get("adapters"),
            draft_files=values.get("draft_files"),
            template=values.get("template", ""),
            system=values.get("system", ""),
            license=values.get("license"),
            parameters=values.get("parameters"),
            raw_messages=tuple(_message_json(message) for message in messages),
            renderer=values.get("renderer", ""),
            parser=values.get("parser", ""),
            requires=values.get("requires", ""),
            quantize=values.get("quantize") or values.get("quantization", ""),
            draft_quantize=values.get("draft_quantize", ""),
            imatrix=values.get("imatrix", ""),
            remote_host=values.get("remote_host", ""),
            info=values.get("info", {}),
        )
        modelfile = values.get("modelfile")
        if isinstance(modelfile, str) and modelfile:
            request = with_modelfile(request, modelfile, self._store.blobs)
        self._creator.check(request)
        is_stream = values.get("stream", True)
        await answer_with_progress(exchange, is_stream, lambda report: self._creator.create(request, report))


async def _body(exchange: Exchange) -> AsyncIterator[bytes]:
    async for chunk in exchange.iter_body():
        yield chunk


def _message_json(message: Message) -> dict[str, Any]:
    """A message as it is stored: role and content always, the rest only if present."""
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        value["thinking"] = message.thinking
    if message.tool_calls:
        value["tool_calls"] = [
            {"function": {"index": call.index, "name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_name:
        value["tool_name"] = message.tool_name
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    return value
