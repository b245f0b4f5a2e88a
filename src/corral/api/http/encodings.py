"""Packed request bodies (`Content-Encoding`): unpacked within bounds, whatever they claim."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from corral.errors import InvalidRequestError

# What stands in the header of clients that name a character set there, or nothing at all.
_PLAIN = frozenset({"", "identity", "utf-8", "utf8", "ascii", "none"})
_MAX_CODINGS = 2
_MAX_WINDOW_BYTES = 8 * 1024 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_FRAMES = 64
# A few packed bytes can stand for 128 KiB, so packed bytes are taken in steps that bound what one makes.
_STEP_BYTES = 256


class UnsupportedEncodingError(InvalidRequestError):
    """The body is packed in a way that is not understood."""

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"content encoding {coding!r} is not supported: send the body unpacked, or with gzip, deflate or zstd"
        )


class BrokenBodyError(Exception):
    """Packed bytes that do not unpack; the text says why."""


class TooLargeError(Exception):
    """More comes out than is allowed."""


def content_codings(header: str) -> list[str]:
    """The codings that a body went through, in that order.

    Raises:
        UnsupportedEncodingError
    """
    codings = [name for part in header.split(",") if (name := part.strip().lower()) not in _PLAIN]
    for name in codings:
        if name not in _DECODERS:
            raise UnsupportedEncodingError(name)
    if len(codings) > _MAX_CODINGS:
        raise UnsupportedEncodingError(header)
    return codings


def decode_body(body: bytes, codings: list[str], limit_bytes: int) -> bytes | None:
    """Undo the codings; None if more than `limit_bytes` come out.

    A body that is plain JSON whatever its header says stays as it is: clients that set the header by mistake work
    with servers that ignore it.

    Raises:
        InvalidRequestError
    """
    for name in reversed(codings):
        if body.lstrip()[:1] in (b"{", b"["):
            continue
        try:
            body = _DECODERS[name](body, limit_bytes)
        except TooLargeError:
            return None
        except BrokenBodyError as exc:
            raise InvalidRequestError(f"the body is not valid {name}: {exc}") from None
    return body


def _inflate(body: bytes, limit_bytes: int, window_bits: int) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    for _ in range(_MAX_FRAMES):
        inflater = zlib.decompressobj(window_bits)
        try:
            part = inflater.decompress(body, limit_bytes - size_bytes + 1)
        except zlib.error as exc:
            raise BrokenBodyError(str(exc)) from None
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise TooLargeError
        if not inflater.eof:
            raise BrokenBodyError("unexpected EOF")
        body = inflater.unused_data
        if not body:
            return b"".join(parts)
    raise BrokenBodyError(f"more than {_MAX_FRAMES} parts")


def _gunzip(body: bytes, limit_bytes: int) -> bytes:
    return _inflate(body, limit_bytes, 16 + zlib.MAX_WBITS)


def _undeflate(body: bytes, limit_bytes: int) -> bytes:
    # Half of all clients send the zlib format, as the standard requires, the others the bare stream.
    has_header = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _inflate(body, limit_bytes, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


def unpack_zstd(body: bytes, limit_bytes: int) -> bytes:
    """Undo zstd.

    Raises:
        BrokenBodyError, TooLargeError
    """
    import zstandard

    if body[:4] != _ZSTD_MAGIC[: len(body)]:
        raise BrokenBodyError("magic number mismatch")
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    parts: list[bytes] = []
    start = size_bytes = 0
    for _ in range(_MAX_FRAMES):
        frame = decompressor.decompressobj()
        while not frame.eof:
            if start >= len(body):
                raise BrokenBodyError("unexpected EOF")
            try:
                parts.append(frame.decompress(body[start : start + _STEP_BYTES]))
            except zstandard.ZstdError as exc:
                raise BrokenBodyError(str(exc)) from None
            start += _STEP_BYTES
            size_bytes += len(parts[-1])
            if size_bytes > limit_bytes:
                raise TooLargeError
        start = min(start, len(body)) - len(frame.unused_data)
        if start >= len(body):
            return b"".join(parts)
    raise BrokenBodyError(f"more than {_MAX_FRAMES} frames")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "zstd": unpack_zstd,
}
