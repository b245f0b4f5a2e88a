"""Streams of chat servers are read as they arrive."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from bench.duel.streams import PeerError, Reply, parse_ollama, parse_openai, read_stream

OLLAMA = [
    b'{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}\n',
    b'{"message":{"role":"assistant","content":"Hel"},"done":false}\n',
    b'{"message":{"role":"assistant","content":"lo"},"done":false}\n',
    b'{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":30,'
    b'"prompt_eval_cached_count":20,"eval_count":4}\n',
]
OPENAI = [
    b'data: {"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}\n',
    b"\n",
    b": a comment\n",
    b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n',
    b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":4,'
    b'"prompt_tokens_details":{"cached_tokens":20}}}\n',
    b"data: [DONE]\n",
]


def ticking() -> Callable[[], float]:
    """A clock that is a second later each time it is looked at."""
    ticks = itertools.count(1)
    return lambda: float(next(ticks))


def test_ollama_stream() -> None:
    assert read_stream(OLLAMA, parse_ollama, ticking(), 100) == Reply([1, 2, 3], 5, "Hello", 4, 30, 20)


def test_openai_stream() -> None:
    # A role without text is no token.
    assert read_stream(OPENAI, parse_openai, ticking(), 100) == Reply([4, 5], 9, "Hello", 4, 30, 20)


def test_what_is_not_reported_is_unknown() -> None:
    lines = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n'] * 3 + [b"data: [DONE]\n"]
    reply = read_stream(lines, parse_openai, ticking(), 100)
    assert (reply.token_count, reply.prompt_count, reply.cached_count) == (3, 0, None)


def test_reply_without_tokens_is_timed_by_its_end() -> None:
    reply = read_stream(OLLAMA[-1:], parse_ollama, ticking(), 100)
    assert reply.first_s == reply.total_s == 2


def test_left_early() -> None:
    seen: list[float] = []

    def on_token(at_s: float) -> bool:
        seen.append(at_s)
        return len(seen) < 2

    assert read_stream(OLLAMA, parse_ollama, ticking(), 100, on_token).arrivals_s == seen == [1, 2]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (OLLAMA[:2], "the stream broke off"),
        ([*OLLAMA[:1], b'{"error":"out of memory"}\n'], "out of memory"),
        ([b"<html>\n"], "not JSON"),
        ([b"[]\n"], "not an object"),
        ([b'{"message":{"content":"a"}}\n'] * 20, "no end of the reply after 10 s"),
    ],
)
def test_broken_streams(lines: list[bytes], reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        read_stream(lines, parse_ollama, ticking(), 10)


def test_error_of_openai() -> None:
    with pytest.raises(PeerError, match=r"^too long$"):
        parse_openai(b'data: {"error":{"message":"too long","type":"x"}}')


def test_decode_speed() -> None:
    assert Reply([1.0, 1.5, 2.0], 3.0, token_count=5).decode_tokens_per_s == 2.0


@pytest.mark.parametrize(
    "reply", [Reply([1.0], 1.5, token_count=1), Reply([1.0, 1.001], 1.002, token_count=50), Reply()]
)
def test_no_decode_speed_from_a_reply_that_shows_none(reply: Reply) -> None:
    with pytest.raises(PeerError):
        _ = reply.decode_tokens_per_s
