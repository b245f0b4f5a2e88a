"""Replies of chat servers as they arrive: Ollama's lines of JSON, and OpenAI's server-sent events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

# A reply that was held back, by the server or on its way, shows no speed: most of its time is before the first token.
_LEAST_DECODE_SHARE = 0.1


class PeerError(Exception):
    """A server did not do what was asked. The text is short enough for a footnote."""


@dataclass(slots=True)
class Event:
    """What one line of a stream says. Counts are None where the line does not mention them."""

    is_token: bool = False
    text: str = ""
    is_last: bool = False
    token_count: int | None = None
    prompt_count: int | None = None
    cached_count: int | None = None


@dataclass(slots=True)
class Reply:
    """One streamed reply. Times are seconds since the request was sent."""

    arrivals_s: list[float] = field(default_factory=list)
    total_s: float = 0.0
    text: str = ""
    token_count: int = 0
    prompt_count: int = 0
    # Tokens of the prompt that came from the cache; None where the server does not say so.
    cached_count: int | None = None

    @property
    def first_s(self) -> float:
        """The first token; a reply that ends without any is timed by its end."""
        return self.arrivals_s[0] if self.arrivals_s else self.total_s

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first per second. Raises PeerError if the arrivals cannot say."""
        if self.token_count < 2:
            raise PeerError("the reply had fewer than two tokens")
        decode_s = self.total_s - self.first_s
        if decode_s < _LEAST_DECODE_SHARE * self.total_s:
            raise PeerError("the tokens of the reply arrived all at once")
        return (self.token_count - 1) / decode_s


Parser = Callable[[bytes], Event | None]


def parse_ollama(line: bytes) -> Event | None:
    """A line of `/api/chat`. None for a blank line. Raises PeerError for an error in the stream."""
    if not line.strip():
        return None
    data = _loads(line)
    message = data.get("message") or {}
    text = message.get("content") or ""
    event = Event(bool(text or message.get("thinking") or message.get("tool_calls")), text)
    if data.get("done"):
        event.is_last = True
        event.token_count = data.get("eval_count", 0)
        event.prompt_count = data.get("prompt_eval_count", 0)
        event.cached_count = data.get("prompt_eval_cached_count")
    return event


def parse_openai(line: bytes) -> Event | None:
    """A line of `/v1/chat/completions`. None for anything but data. Raises PeerError for an error in the stream."""
    if not line.startswith(b"data:"):
        return None
    content = line[5:].strip()
    if content == b"[DONE]":
        return Event(is_last=True)
    data = _loads(content)
    choices = data.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    text = delta.get("content") or ""
    thinking = delta.get("reasoning_content") or delta.get("reasoning")
    event = Event(bool(text or thinking or delta.get("tool_calls")), text)
    if usage := data.get("usage"):
        event.token_count = usage.get("completion_tokens", 0)
        event.prompt_count = usage.get("prompt_tokens", 0)
        event.cached_count = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return event


def _loads(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        raise PeerError(f"not JSON: {line[:80]!r}") from None
    if not isinstance(data, dict):
        raise PeerError(f"not an object: {line[:80]!r}")
    if error := data.get("error"):
        raise PeerError(error_text(error))
    return data


def error_text(error: object) -> str:
    """The message of an error as Ollama (a string) and OpenAI (an object) send it."""
    return str(error.get("message", error) if isinstance(error, dict) else error)[:200]


def read_stream(
    lines: Iterable[bytes],
    parse: Parser,
    clock: Callable[[], float],
    deadline_s: float,
    on_token: Callable[[float], bool] | None = None,
) -> Reply:
    """Read a reply to its end.

    `clock`: seconds since the request was sent. `on_token` gets the time of each token and returns whether to go on
    reading. Raises PeerError after `deadline_s`, or if the stream breaks off.
    """
    reply = Reply()
    is_complete = False
    pieces: list[str] = []
    for line in lines:
        now_s = clock()
        if now_s > deadline_s:
            raise PeerError(f"no end of the reply after {deadline_s:.0f} s")
        event = parse(line)
        if event is None:
            continue
        if event.is_token:
            reply.arrivals_s.append(now_s)
            pieces.append(event.text)
            if on_token and not on_token(now_s):
                is_complete = True
                break
        if event.token_count is not None:
            reply.token_count, reply.prompt_count = event.token_count, event.prompt_count or 0
        if event.cached_count is not None:
            reply.cached_count = event.cached_count
        if event.is_last:
            is_complete = True
            break
    if not is_complete:
        raise PeerError("the stream broke off")
    reply.total_s = clock()
    reply.token_count = reply.token_count or len(reply.arrivals_s)
    reply.text = "".join(pieces)
    return reply
