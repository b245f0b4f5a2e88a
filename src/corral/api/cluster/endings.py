"""How a streamed answer that a node breaks off ends for the client, and which of its bytes may be passed on."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from corral.api.anthropic.errors import error_event as anthropic_error
from corral.api.http.errors import body_of
from corral.api.http.exchange import NDJSON
from corral.api.http.sse import EVENT_STREAM, frame, named_frame
from corral.api.openai.errors import error_event as openai_error
from corral.errors import CorralError
from corral.golang.json import encode

# More than this without the end of a line is passed on as it is.
_MAX_HELD_BYTES = 1 << 20


# Events that end an answer, whatever the API: nothing follows them.
_LAST_EVENTS = (
    b"data: [DONE]",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
)


class Pieces:
    """Cuts a stream so that only whole lines (NDJSON) or whole events go on; `count` is how many did."""

    def __init__(self, content_type: str) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        self._end = {NDJSON: b"\n", EVENT_STREAM: b"\n\n"}.get(kind, b"")
        self._held = self._last = b""
        self.count = 0

    @property
    def is_over(self) -> bool:
        """Whether the last piece that went on is the end of an answer: only the end of the stream is missing."""
        if self._end == b"\n":
            return _is_done(self._last.rstrip(b"\n").rpartition(b"\n")[2])
        last = self._last.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        return bool(self._end) and last.startswith(_LAST_EVENTS)

    @property
    def can_end_early(self) -> bool:
        """Whether an error can follow what was passed on."""
        return bool(self._end)

    def feed(self, data: bytes) -> bytes:
        """What of the bytes so far can go on."""
        if not self._end:
            return data
        if not self._held and data.endswith(self._end):
            self.count += data.count(self._end)
            self._last = data
            return data
        data = self._held + data
        cut = data.rfind(self._end)
        if cut < 0 and len(data) > _MAX_HELD_BYTES:
            self._held = b""
            return data
        cut = cut + len(self._end) if cut >= 0 else 0
        self._held = data[cut:]
        self.count += data.count(self._end, 0, cut)
        self._last = data[:cut] or self._last
        return data[:cut]

    def rest(self) -> bytes:
        """What is left at a regular end."""
        held, self._held = self._held, b""
        return held


def last_words(surface: str, error: CorralError, pieces: Pieces) -> bytes:
    """What reports an error after bytes of the stream were sent, in the form of the API; empty if it has none."""
    if not pieces.can_end_early:
        return b""
    write = _WORDS.get(surface)
    return write(error, pieces.count) if write is not None else body_of(error) + b"\n"


def _is_done(line: bytes) -> bool:
    """Whether a line of the native API is the last of an answer."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("done") is True


def _responses(error: CorralError, count: int) -> bytes:
    event = {
        "type": "error",
        "code": "server_error",
        "message": str(error),
        "param": None,
        "sequence_number": count,
    }
    return named_frame("error", encode(event))


_WORDS: dict[str, Callable[[CorralError, int], bytes]] = {
    "openai": lambda error, _count: frame(openai_error(error)),
    "anthropic": lambda error, _count: named_frame("error", anthropic_error(error)),
    "responses": _responses,
}
