"""Server-sent events, as the compatible surfaces stream them: frames as bytes, ready for `Exchange.write`."""

from __future__ import annotations

from typing import Final

EVENT_STREAM: Final = "text/event-stream"
# What OpenAI's surfaces end a whole stream with.
DONE = b"data: [DONE]\n\n"


def frame(data: bytes) -> bytes:
    """An event without a name. `data` is JSON on one line."""
    return b"data: " + data + b"\n\n"


def named_frame(name: str, data: bytes) -> bytes:
    """An event whose kind stands on a line of its own before its JSON `data`."""
    return b"event: " + name.encode("ascii") + b"\ndata: " + data + b"\n\n"
