"""Request bodies: unpacked if the client packed them with zstd, and read without holding up other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from corral.api.http import Exchange
from corral.errors import InvalidRequestError

__all__ = ["parse_body", "read_packed_body"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
# What is parsed in a few milliseconds stays on the event loop; a megabyte of small values takes a tenth of a second.
_THREAD_BYTES = 128 * 1024

# Bounds of the real server for packed bodies: what comes out, and the window that its frames may ask for.
_MAX_UNPACKED_BYTES = 20 * 1024 * 1024
_MAX_WINDOW_BYTES = 8 * 1024 * 1024
_MAGIC = b"\x28\xb5\x2f\xfd"
# A block of 4 packed bytes can stand for 128 KiB, so packed bytes are taken in steps that bound what one makes.
_STEP_BYTES = 256
_MAX_FRAMES = 64


async def read_packed_body(exchange: Exchange, limit_bytes: int) -> bytes:
    """The whole body, unpacked when its `Content-Encoding` is exactly `zstd`.

    Errors of unpacking are told in the native form on every surface, as by the real server.

    Raises:
        InvalidRequestError: the body does not unpack, or to too much.
        BodyTooLargeError, ClientGoneError
    """
    body = await exchange.read_body(limit_bytes)
    if exchange.header(b"content-encoding") != "zstd" or not body:
        return body
    try:
        return await parse_body(body, _unpack, min(limit_bytes, _MAX_UNPACKED_BYTES))
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
    import zstandard

    if body[:4] != _MAGIC[: len(body)]:
        raise InvalidRequestError("invalid input: magic number mismatch")
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    parts: list[bytes] = []
    start = size = 0
    try:
        for _ in range(_MAX_FRAMES):
            frame = decompressor.decompressobj()
            while not frame.eof:
                if start >= len(body):
                    raise InvalidRequestError("unexpected EOF")
                parts.append(frame.decompress(body[start : start + _STEP_BYTES]))
                start += _STEP_BYTES
                size += len(parts[-1])
                if size > limit_bytes:
                    raise InvalidRequestError("http: request body too large")
            start = min(start, len(body)) - len(frame.unused_data)
            if start >= len(body):
                return b"".join(parts)
    except zstandard.ZstdError as exc:
        raise InvalidRequestError(f"invalid input: {exc}") from None
    raise InvalidRequestError(f"invalid input: more than {_MAX_FRAMES} frames")
