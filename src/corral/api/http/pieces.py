"""Answers that hold many vectors or tokens: written in pieces, so that neither memory nor the loop has them whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from corral.api.http.exchange import Exchange

_PIECE_BYTES = 256 << 10


async def send_pieces(exchange: Exchange, content_type: str, pieces: Iterable[bytes]) -> None:
    """Answer 200 with what `pieces` are together. What is small goes in one write."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        if size > _PIECE_BYTES:
            if not exchange.is_started:
                await exchange.start_stream(content_type)
            await exchange.write(b"".join(parts))
            await asyncio.sleep(0)  # a write need not wait, and others want their turn
            parts, size = [], 0
        parts.append(piece)
        size += len(piece)
    if exchange.is_started:
        await exchange.write(b"".join(parts))
        await exchange.end_stream()
    else:
        await exchange.respond(200, b"".join(parts), content_type)


def joined_rows(head: bytes, rows: Iterable[bytes], tail: bytes) -> Iterator[bytes]:
    """`head`, the rows with commas between them, and `tail`."""
    yield head
    before = b""
    for row in rows:
        yield before + row
        before = b","
    yield tail
