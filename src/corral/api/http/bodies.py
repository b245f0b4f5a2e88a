"""Request bodies as values: read within the exchange's limits, and parsed without holding up other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from corral.api.http.encodings import BrokenBodyError, TooLargeError, unpack_zstd
from corral.api.http.exchange import Exchange
from corral.api.reading import decode
from corral.api.reading.jsonread import count_values
from corral.errors import InvalidRequestError, WorkerLimitError
from corral.workers.pool import run_job

_P = ParamSpec("_P")
_T = TypeVar("_T")
# What is parsed in a few milliseconds stays on the event loop. A value takes 0.3 to 4
# microseconds, a megabyte of text two milliseconds, and both hold the interpreter's lock.
_LOOP_BYTES = 128 << 10
_LOOP_MARKS = 2000
_LOOP_PARTS = 100
_THREAD_BYTES = 8 << 20
_THREAD_MARKS = 20_000
# Bounds of what a worker parses, and of what it may hand on.
MAX_VALUES = 300_000
_CPU_S = 10.0
_MEMORY_BYTES = 1 << 30
_RESULT_BYTES = 256 << 20

# What a body packed with zstd may unpack to on the compatible surfaces, as in Ollama.
_MAX_UNPACKED_BYTES = 20 * 1024 * 1024


async def read_request(exchange: Exchange, parse: Callable[[bytes, int], _T]) -> _T:
    """What `parse` makes of the body and of the depth to which its JSON may be nested (see `parse_body`).

    Raises:
        InvalidRequestError: raised by `parse`, or the body cannot be read.
        BodyTooLargeError, ServerBusyError, QueueFullError, ClientGoneError, ClientStalledError
    """
    return await parse_body(await exchange.read_body(), parse, exchange.max_depth)


async def read_compatible(exchange: Exchange, parse: Callable[[bytes, int], _T]) -> _T:
    """The same on the compatible surfaces, which report broken zstd in Ollama's words.

    Raises:
        The errors of `read_request`.
    """
    return await parse_body(await read_packed_body(exchange), parse, exchange.max_depth)


async def read_values(exchange: Exchange, struct: str, fields: Mapping[str, decode.Decode]) -> dict[str, Any]:
    """The members of a body that needs no conversion; `struct` names it in errors.

    Raises:
        The errors of `read_request`.
    """
    body = await exchange.read_body()
    return await parse_body(body, decode.decode_request, struct, fields, max_depth=exchange.max_depth)


async def read_packed_body(exchange: Exchange) -> bytes:
    """The whole body, unpacked. Faults of zstd are reported in Ollama's words and in the native form.

    Raises:
        InvalidRequestError: the body does not unpack, or to too much.
        BodyTooLargeError, ServerBusyError, ClientGoneError, ClientStalledError
    """
    if exchange.header(b"content-encoding") != "zstd":
        return await exchange.read_body()
    packed = await exchange.read_packed_body()
    try:
        limit_bytes = min(exchange.max_body_bytes, _MAX_UNPACKED_BYTES)
        body = await asyncio.to_thread(_unpack, packed, limit_bytes) if packed else b""
    except InvalidRequestError:
        exchange.error_encoder = None
        raise
    await exchange.take_body(body, was_packed=True)
    return body


async def parse_body(
    body: bytes, parse: Callable[Concatenate[bytes, _P], _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """What `parse` makes of a body, without holding up other requests: a large one is parsed in a thread or a worker.

    `parse` is a function at the top of a module, and what it returns can come from a worker (see `WorkerPool.run`).

    Raises:
        InvalidRequestError: raised by `parse`; or the body has too many values, or takes too long.
        QueueFullError: too many large bodies wait.
    """
    marks = _marks(body)
    if len(body) <= _LOOP_BYTES and marks <= _LOOP_MARKS:
        return parse(body, *args, **kwargs)
    if len(body) <= _THREAD_BYTES and marks <= _THREAD_MARKS:
        return await asyncio.to_thread(parse, body, *args, **kwargs)
    try:
        return await run_job(
            parse_bounded,
            parse,
            body,
            args,
            kwargs,
            cpu_s=_CPU_S,
            memory_bytes=_MEMORY_BYTES,
            result_bytes=_RESULT_BYTES,
            what="the request body",
        )
    except WorkerLimitError as error:
        raise InvalidRequestError(str(error), hint="send smaller requests") from None


def parse_bounded(parse: Callable[..., _T], body: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
    """The job for a large body. What it leaves out of the answer bounds what the server has to hold.

    Raises:
        InvalidRequestError: raised by `parse`, or the body has too many values.
    """
    if count_values(body) > MAX_VALUES:
        raise InvalidRequestError(f"the request body has more than {MAX_VALUES} JSON values")
    return parse(body, *args, **kwargs)


async def beside_loop(count: int, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Further work on what a body was parsed to: in a thread if it is done for many parts."""
    if count <= _LOOP_PARTS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _marks(body: bytes) -> int:
    """At least as many as the body has values; counted at gigabytes a second."""
    if len(body) > _THREAD_BYTES:
        return len(body)
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _unpack(body: bytes, limit_bytes: int) -> bytes:
    try:
        return unpack_zstd(body, limit_bytes)
    except TooLargeError:
        raise InvalidRequestError("http: request body too large") from None
    except BrokenBodyError as exc:
        text = str(exc)
        raise InvalidRequestError(text if text == "unexpected EOF" else f"invalid input: {text}") from None
