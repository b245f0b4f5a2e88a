"""Request bodies on the wire: sized or chunked; bytes in, pieces of the body out, no I/O."""

from __future__ import annotations

import re
from typing import Protocol

from corral.web.heads import MAX_HEAD_BYTES, HeadError

_MAX_LINE_BYTES = 4096
# A body of tiny chunks is read in slices, so that it does not delay other connections.
_MAX_CHUNKS = 500
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")


class BodyReader(Protocol):
    """Takes what arrives; `is_done` once the body has ended, `rest` is what has not been used yet."""

    is_done: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """The next piece of the body, perhaps empty. Call it again with no data while `has_more`.

        Raises:
            HeadError: the framing is broken.
        """
        ...

    @property
    def has_more(self) -> bool:
        """Whether `rest` holds more that can be read now."""
        ...


class SizedBody:
    """A body of a known size."""

    __slots__ = ("_left_bytes", "is_done", "rest")

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes
        self.is_done = size_bytes == 0
        self.rest = b""

    @property
    def has_more(self) -> bool:
        return False

    def feed(self, data: bytes) -> bytes:
        if len(data) > self._left_bytes:
            data, self.rest = data[: self._left_bytes], data[self._left_bytes :]
        self._left_bytes -= len(data)
        self.is_done = self._left_bytes == 0
        return data


class ChunkedBody:
    """A chunked body. The syntax of extensions and trailers is checked; their content is dropped."""

    __slots__ = ("_left_bytes", "_trailer_bytes", "_waits", "is_done", "rest")

    def __init__(self) -> None:
        self._left_bytes = -1  # -1: a chunk's line comes next; 0: the end of a chunk; else bytes of the chunk
        self._trailer_bytes = -1  # -1: the last chunk has not been seen
        self._waits = False
        self.is_done = False
        self.rest = b""

    @property
    def has_more(self) -> bool:
        return bool(self.rest) and not self._waits and not self.is_done

    def feed(self, data: bytes) -> bytes:
        data = self.rest + data if self.rest else data
        pieces: list[bytes] = []
        position = 0
        self._waits = False
        for _ in range(_MAX_CHUNKS):
            before = position
            position = self._step(data, position, pieces)
            if self.is_done or self._waits:
                break
            if position == len(data) and position == before:
                self._waits = True
                break
        self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _step(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        if self._trailer_bytes >= 0:
            return self._trailer(data, position)
        if self._left_bytes > 0:
            piece = data[position : position + self._left_bytes]
            if piece:
                pieces.append(piece)
            self._left_bytes -= len(piece)
            return position + len(piece)
        if self._left_bytes == 0:
            return self._chunk_end(data, position)
        return self._chunk_line(data, position)

    def _chunk_line(self, data: bytes, position: int) -> int:
        match = _CHUNK_LINE.match(data, position)
        if match is None:
            if len(data) - position > _MAX_LINE_BYTES or b"\n" in data[position:]:
                raise HeadError(400, "malformed chunked encoding")
            self._waits = True
            return position
        if match.end() - position > _MAX_LINE_BYTES:
            raise HeadError(400, "chunk extension is too long")
        self._left_bytes = int(match[1], 16)
        if self._left_bytes == 0:
            self._trailer_bytes = 0
        return match.end()

    def _chunk_end(self, data: bytes, position: int) -> int:
        end = data[position : position + 2]
        if end == b"\r\n":
            self._left_bytes = -1
            return position + 2
        if end not in (b"", b"\r"):
            raise HeadError(400, "malformed chunked encoding")
        self._waits = True
        return position

    def _trailer(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        size_bytes = (end if end >= 0 else len(data)) - position
        if self._trailer_bytes + size_bytes > MAX_HEAD_BYTES:
            raise HeadError(431, "trailers are too long")
        if end < 0:
            self._waits = True
            return position
        self._trailer_bytes += size_bytes
        self.is_done = data[position:end] in (b"", b"\r")
        return end + 1
