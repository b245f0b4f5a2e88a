"""Request bodies of the `/v1` surfaces, and bodies of any size parsed without holding up other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from corral.api.encodings import BrokenBodyError, TooLargeError, unpack_zstd
from corral.api.http import Exchange
from corral.errors import InvalidRequestError

__all__ = ["parse_body", "read_packed_body"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
# What is parsed in a few milliseconds stays on the event loop; a megabyte of small values takes a tenth of a second.
_THREAD_BYTES = 128 * 1024

# What may come out of a packed body here, as in Ollama.
_MAX_UNPACKED_BYTES = 20 * 1024 * 1024


async def read_packed_body(exchange: Exchange, limit_bytes: int) -> bytes:
    """The whole body, unpacked. What is wrong with zstd is said in Ollama's words and in the native form.

    Raises:
        InvalidRequestError: the body does not unpack, or to too much.
        BodyTooLargeError, ClientGoneError
    """
    if exchange.header(b"content-encoding") != "zstd":
        return await exchange.read_body(limit_bytes)
    body = await exchange.read_packed_body(limit_bytes)
    if not body:
        return body
    try:
        return await asyncio.to_thread(_unpack, body, min(limit_bytes, _MAX_UNPACKED_BYTES))
    except InvalidRequestError:
        exchange.error_encoder = None
        raise


async def parse_body(
    body: bytes, parse: Callable[Concatenate[bytes, _P], _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """What `parse` makes of a body; of a large one in a thread, so that the streams of others go on.

    Raises:
        InvalidRequestError: raised by `parse`.
    """
    if len(body) < _THREAD_BYTES:
        return parse(body, *args, **kwargs)
    return await asyncio.to_thread(parse, body, *args, **kwargs)


def _unpack(body: bytes, limit_bytes: int) -> bytes:
    try:
        return unpack_zstd(body, limit_bytes)
    except TooLargeError:
        raise InvalidRequestError("http: request body too large") from None
    except BrokenBodyError as exc:
        text = str(exc)
        raise InvalidRequestError(text if text == "unexpected EOF" else f"invalid input: {text}") from None
