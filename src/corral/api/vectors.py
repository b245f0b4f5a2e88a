"""Answers that hold many vectors: written in pieces, so that neither memory nor the event loop has them whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from corral.api.http import Exchange

__all__ = ["send_rows"]

_PIECE_BYTES = 256 << 10


async def send_rows(
    exchange: Exchange, content_type: str, head: bytes, rows: Iterator[bytes], tail: bytes
) -> None:
    """Answer 200 with `head`, the rows with commas between them, and `tail`. What is small goes in one write."""
    parts = [head]
    size = len(head)
    is_first = True
    for row in rows:
        if size > _PIECE_BYTES:
            if not exchange.is_started:
                await exchange.start_stream(content_type)
            await exchange.write(b"".join(parts))
            await asyncio.sleep(0)  # a write need not wait, and others want their turn
            parts, size = [], 0
        parts += (row,) if is_first else (b",", row)
        size += len(row)
        is_first = False
    parts.append(tail)
    if exchange.is_started:
        await exchange.write(b"".join(parts))
        await exchange.end_stream()
    else:
        await exchange.respond(200, b"".join(parts), content_type)
