"""The library's routes: version, tags, show, ps, copy, delete, blobs, create, pull and push."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from corral import __version__
from corral.api import decode
from corral.api.errors import error_body, status_of, text_of
from corral.api.http import JSON, JSON_UTF8, NDJSON, ClientGoneError, Exchange
from corral.create.request import CreateRequest
from corral.create.service import Creator
from corral.digest import Digest
from corral.errors import CorralError, DigestMismatchError, InvalidModelNameError, InvalidRequestError
from corral.gowire import encode
from corral.rate import parse_rate
from corral.registry.request import TransferRequest
from corral.scheduler.spec import LoadedInfo
from corral.service.library import Library, ShowRequest
from corral.service.pull import Puller
from corral.store.blobs import PutResult
from corral.store.models import ModelStore
from corral.types import Message

__all__ = ["LibraryRoutes"]

_NAMES: dict[str, decode.Decode] = {"model": decode.string, "name": decode.string}
_SHOW: dict[str, decode.Decode] = {
    **_NAMES,
    "system": decode.string,
    "template": decode.string,
    "verbose": decode.boolean,
    "options": decode.mapping,
}
_COPY: dict[str, decode.Decode] = {"source": decode.string, "destination": decode.string}
_TRANSFER: dict[str, decode.Decode] = {
    **_NAMES,
    "insecure": decode.boolean,
    "username": decode.string,
    "password": decode.string,
    "stream": decode.boolean,
    "rate_limit": decode.any_value,
    "verify": decode.boolean,
}
_CREATE: dict[str, decode.Decode] = {
    **_NAMES,
    "stream": decode.boolean,
    "from": decode.string,
    "remote_host": decode.string,
    "files": decode.string_map,
    "adapters": decode.string_map,
    "draft_files": decode.string_map,
    "draft_quantize": decode.string,
    "template": decode.string,
    "system": decode.string,
    "license": decode.any_value,
    "parameters": decode.mapping,
    "messages": decode.messages,
    "quantize": decode.string,
    "quantization": decode.string,
    "renderer": decode.string,
    "parser": decode.string,
    "requires": decode.string,
    "info": decode.mapping,
}


class _Loaded(Protocol):
    def loaded(self) -> list[LoadedInfo]: ...
    def loading(self) -> list[tuple[str, float]]: ...


class LibraryRoutes:
    """Handlers on the library, the store and the creator."""

    def __init__(
        self,
        library: Library,
        store: ModelStore,
        creator: Creator,
        puller: Puller,
        scheduler: _Loaded,
        *,
        max_body_bytes: int,
        max_depth: int,
    ) -> None:
        self._library = library
        self._store = store
        self._creator = creator
        self._puller = puller
        self._scheduler = scheduler
        self._max_body_bytes = max_body_bytes
        self._max_depth = max_depth
        self._version = encode({"version": __version__})

    async def root(self, exchange: Exchange) -> None:
        await exchange.respond(200, b"Ollama is running", "text/plain; charset=utf-8")

    async def version(self, exchange: Exchange) -> None:
        await exchange.respond(200, self._version, JSON_UTF8)

    async def status(self, exchange: Exchange) -> None:
        await exchange.respond(200, b'{"cloud":{"disabled":true,"source":"config"}}', JSON_UTF8)

    async def tags(self, exchange: Exchange) -> None:
        answer = self._library.recent_tags_json()
        if answer is None:
            answer = await asyncio.to_thread(self._library.tags_json)
        await exchange.respond(200, answer, JSON_UTF8)

    async def ps(self, exchange: Exchange) -> None:
        entries = self._library.ps(self._scheduler.loaded())
        await exchange.respond(200, encode({"models": entries}), JSON_UTF8)

    async def loading(self, exchange: Exchange) -> None:
        """How far loads have come: a route of our own, which clients of the original never ask for."""
        entries = [{"name": name, "progress": round(share, 4)} for name, share in self._scheduler.loading()]
        await exchange.respond(200, encode({"loading": entries}), JSON_UTF8)

    async def show(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "ShowRequest", _SHOW)
        name = values.get("model") or values.get("name", "")
        is_copilot = exchange.header(b"user-agent").startswith("GitHubCopilotChat/")
        request = ShowRequest(
            model=name,
            system=values.get("system", ""),
            is_verbose=values.get("verbose", False),
            options=values.get("options", {}),
            basename=name if is_copilot else "",
        )
        answer = await asyncio.to_thread(self._library.show, request)
        await exchange.respond(200, encode(answer), JSON_UTF8)

    async def copy(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "CopyRequest", _COPY)
        await asyncio.to_thread(self._library.copy, values.get("source", ""), values.get("destination", ""))
        await exchange.respond(200)

    async def delete(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "DeleteRequest", _NAMES)
        await asyncio.to_thread(self._library.delete, values.get("model") or values.get("name", ""))
        await exchange.respond(200)

    async def blob_exists(self, exchange: Exchange) -> None:
        digest = Digest.parse(exchange.params["digest"])
        if await asyncio.to_thread(self._store.blobs.has, digest):
            await exchange.respond(200)
        else:
            text = f'blob "{exchange.params["digest"]}" not found'
            await exchange.respond(404, error_body(text), JSON_UTF8)

    async def blob_upload(self, exchange: Exchange) -> None:
        given = exchange.params["digest"]
        if await asyncio.to_thread(self._store.blobs.has, Digest.parse(given)):
            await exchange.respond(200)
            return
        result: PutResult = await self._store.blobs.put(_body(exchange))
        if str(result.digest) != given:
            raise DigestMismatchError(given, str(result.digest))
        await exchange.respond(201)

    async def create(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "CreateRequest", _CREATE)
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
            remote_host=values.get("remote_host", ""),
            info=values.get("info", {}),
        )
        self._creator.check(request)
        is_stream = values.get("stream", True)
        await _progress(exchange, is_stream, lambda report: self._creator.create(request, report))

    async def pull(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "PullRequest", _TRANSFER)
        name = values.get("model") or values.get("name", "")
        try:
            wanted = self._puller.parse(name)
        except InvalidModelNameError:
            raise
        except InvalidRequestError as exc:
            text = "invalid model name" if not name.strip() else str(exc)
            raise InvalidRequestError(text) from None
        transfer = _transfer_request(values)
        await _progress(
            exchange, values.get("stream", True), lambda report: self._puller.pull(wanted, report, transfer)
        )

    async def push(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "PushRequest", _TRANSFER)
        name = values.get("model") or values.get("name", "")
        if not name:
            raise InvalidRequestError("model is required")
        transfer = _transfer_request(values)
        await _progress(
            exchange, values.get("stream", True), lambda report: self._puller.push(name, report, transfer)
        )

    async def _read(
        self, exchange: Exchange, struct: str, fields: dict[str, decode.Decode]
    ) -> dict[str, Any]:
        body = await exchange.read_body(self._max_body_bytes)
        return decode.decode_request(body, struct, fields, max_depth=self._max_depth)


def _transfer_request(values: dict[str, Any]) -> TransferRequest:
    rate = values.get("rate_limit")
    return TransferRequest(
        is_insecure=values.get("insecure", False),
        bytes_per_s=0 if rate is None else parse_rate(rate),
        username=values.get("username", ""),
        password=values.get("password", ""),
        is_verifying=values.get("verify", False),
    )


async def _body(exchange: Exchange) -> AsyncIterator[bytes]:
    async for chunk in exchange.iter_body():
        yield chunk


def _message_json(message: Message) -> dict[str, Any]:
    """A message as it is stored: role and content always, the rest only if there."""
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


async def _progress(exchange: Exchange, is_stream: bool, run: Any) -> None:
    """Run something that reports progress: as a stream of objects, or as the last of them."""
    last: dict[str, Any] = {}

    async def report(event: dict[str, Any]) -> None:
        nonlocal last
        last = event
        if is_stream:
            if not exchange.is_started:
                await exchange.start_stream(NDJSON)
            await exchange.write(encode(event) + b"\n")

    async def work() -> None:
        await run(report)
        if is_stream:
            await exchange.end_stream()
        else:
            await exchange.respond(200, encode(last), JSON)

    try:
        await exchange.run_watched(work())
    except ClientGoneError:
        raise
    except CorralError as error:
        if exchange.is_started:
            await exchange.write(error_body(text_of(error)) + b"\n")
            await exchange.end_stream()
        else:
            await exchange.respond(status_of(error), error_body(text_of(error)), JSON)
