"""Runs a service call while the client is connected, and streams or collects what it emits; one writer a surface.

The status is picked when the first bytes are due: an error before them gets its own status and a whole body, one
after them ends the stream in the surface's way.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from corral import requestfacts, tracenotes
from corral.api.http.exchange import ClientGoneError, Exchange
from corral.api.http.waits import note_wish
from corral.errors import CorralError
from corral.inference.requests import Emit, Immediate
from corral.types import Chunk

# A whole answer: its body and its content type.
Whole = tuple[bytes, str]
_MAX_HEADER_CHARS = 2000


class AnswerWriter(Protocol):
    """How a surface writes one answer. Made for each request; `stream` may keep state between calls."""

    @property
    def stream_type(self) -> str:
        """The content type of a streamed answer."""
        ...

    def stream(self, chunks: list[Chunk]) -> bytes:
        """What to send for the next chunks; nothing is sent for empty bytes."""
        ...

    def stream_end(self) -> bytes:
        """What follows the last chunk of a stream that did not fail."""
        ...

    def stream_error(self, error: CorralError) -> bytes:
        """What reports an error after bytes of the stream were sent; the stream ends after it."""
        ...

    def whole(self, chunks: list[Chunk]) -> Whole:
        """The answer to a request that does not stream."""
        ...

    def immediate(self, answer: Immediate, *, is_stream: bool) -> Whole:
        """The answer when there was nothing to generate."""
        ...

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        """Status, body and content type of an error before anything was sent."""
        ...


def _headers(chunks: Sequence[Chunk]) -> list[tuple[bytes, bytes]]:
    """The places in a format's schema that an answer was not held to, if there are any, as JSON."""
    places = next((chunk.format_unenforced for chunk in reversed(chunks) if chunk.format_unenforced), ())
    if not places:
        return []
    text = json.dumps(places)
    while len(text) > _MAX_HEADER_CHARS:
        places = places[: len(places) // 2]
        text = json.dumps([*places, "..."])
    return [(b"x-corral-format-unenforced", text.encode("ascii"))]


async def answer(
    exchange: Exchange,
    writer: AnswerWriter,
    run: Callable[[Emit], Awaitable[Immediate | None]],
    *,
    is_stream: bool,
) -> None:
    """Answer with what `run` emits. The body must have been read.

    Raises:
        ClientGoneError: the client left first; `run` was cancelled and has ended.
    """
    collected: list[Chunk] = []
    note_wish(exchange)
    if (notes := tracenotes.current()) is not None:
        notes.facts["gen_ai.request.stream"] = is_stream

    async def send(data: bytes) -> None:
        if not exchange.is_started:
            await exchange.start_stream(writer.stream_type)
        if data:
            await exchange.write(data)

    async def stream(chunks: list[Chunk]) -> None:
        if data := writer.stream(chunks):
            await send(data)

    async def collect(chunks: list[Chunk]) -> None:
        collected.extend(chunks)

    async def work() -> None:
        immediate = await run(stream if is_stream else collect)
        if immediate is not None:
            await exchange.respond(200, *writer.immediate(immediate, is_stream=is_stream))
        elif not is_stream:
            await exchange.respond(200, *writer.whole(collected), headers=_headers(collected))
        else:
            await send(writer.stream_end())
            await exchange.end_stream()

    try:
        await exchange.run_watched(work())
    except ClientGoneError:
        raise
    except CorralError as error:
        requestfacts.note_error(error)
        if exchange.is_started:
            await exchange.write(writer.stream_error(error))
            await exchange.end_stream()
        else:
            await exchange.respond(*writer.error(error, is_stream=is_stream))
