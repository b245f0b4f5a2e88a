"""How `/v1/completions` writes an answer: as chunks of a stream, or whole."""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import Sequence

from corral.api.http.exchange import JSON
from corral.api.http.sse import DONE, EVENT_STREAM, frame
from corral.api.http.waits import timings_member
from corral.api.native.encode import merge_chunks
from corral.api.openai.encode import FINGERPRINT, UsageCount, known_reason, new_id
from corral.api.openai.errors import error_event, service_error
from corral.errors import CorralError
from corral.golang.json import Float32, encode, escape_string
from corral.inference.requests import Immediate
from corral.types import Chunk, Logprob, TopLogprob

_NO_USAGE = b',"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'


class CompletionWriter:
    """One answer: of `made_per_prompt` texts for each of `prompt_count` prompts the best `given_per_prompt`.

    `echoes` are put before the texts, one a prompt (none: no echo).
    """

    stream_type = EVENT_STREAM

    def __init__(
        self,
        model: str,
        *,
        prompt_count: int,
        given_per_prompt: int,
        made_per_prompt: int,
        echoes: Sequence[str],
        logprob_count: int,
        has_stream_usage: bool,
        has_usage_details: bool,
    ) -> None:
        self._model = escape_string(model)
        self._id = new_id("cmpl")
        self._prompt_count = prompt_count
        self._given = given_per_prompt
        self._made = made_per_prompt
        self._echoes = echoes
        self._logprob_count = logprob_count
        self._has_stream_usage = has_stream_usage
        self._usage = UsageCount(made_per_prompt, has_details=has_usage_details)
        self._tail = b',"model":' + self._model + b"," + FINGERPRINT
        self._finished: set[int] = set()
        self._offsets: dict[int, int] = {}

    def stream(self, chunks: list[Chunk]) -> bytes:
        return b"".join([self._chunk(chunk) for chunk in chunks])

    def _chunk(self, chunk: Chunk) -> bytes:
        text, number = chunk.content, chunk.choice
        if number not in self._offsets:
            echo = self._echo(number)
            text, self._offsets[number] = echo + text, len(echo)
        if chunk.done:
            self._finished.add(number)
            self._usage.add(number, chunk.metrics)
        choices = b"[" + self._choice(number, text, chunk) + b"]"
        return self._event(choices, is_last=False, rest=timings_member(chunk.metrics))

    def _echo(self, number: int) -> str:
        return self._echoes[number // self._made] if self._echoes else ""

    def _choice(self, number: int, text: str, chunk: Chunk) -> bytes:
        reason = escape_string(known_reason(chunk.done_reason)) if chunk.done_reason else b"null"
        extra = b""
        if self._logprob_count and chunk.logprobs:
            *offsets, self._offsets[number] = _offsets(chunk.logprobs, self._offsets.get(number, 0))
            extra = b',"logprobs":' + _legacy_logprobs(chunk.logprobs, offsets)
        return b'{"text":%s,"index":%d,"finish_reason":%s%s}' % (escape_string(text), number, reason, extra)

    def _event(self, choices: bytes, *, is_last: bool, rest: bytes = b"") -> bytes:
        usage = b""
        if self._has_stream_usage:
            usage = b',"usage":' + self._usage.json() if is_last else _NO_USAGE
        head = b'{"id":%s,"object":"text_completion","created":%d' % (self._id, int(time.time()))
        return frame(head + b',"choices":' + choices + self._tail + usage + rest + b"}")

    def stream_end(self) -> bytes:
        parts = [
            # A reply that repeats itself is stopped without a last chunk.
            self._chunk(Chunk(done=True, done_reason="stop", choice=number))
            for number in range(self._prompt_count * self._made)
            if number not in self._finished
        ]
        if self._has_stream_usage:
            parts.append(self._event(b"[]", is_last=True))
        return b"".join(parts) + DONE

    def stream_error(self, error: CorralError) -> bytes:
        return frame(error_event(error))

    def whole(self, chunks: list[Chunk]) -> tuple[bytes, str]:
        made: list[list[Chunk]] = [[] for _ in range(self._prompt_count * self._made)]
        for chunk in chunks:
            made[chunk.choice].append(chunk)
        merged = [merge_chunks(own, keeps_calls=False) for own in made]
        for number, chunk in enumerate(merged):
            self._usage.add(number, chunk.metrics)
        choices: list[bytes] = []
        for prompt in range(self._prompt_count):
            candidates = merged[prompt * self._made : (prompt + 1) * self._made]
            if self._made > self._given:
                candidates = sorted(candidates, key=_likelihood, reverse=True)[: self._given]
            echo = self._echoes[prompt] if self._echoes else ""
            for chunk in candidates:
                number = len(choices)
                self._offsets[number] = len(echo)
                choices.append(self._choice(number, echo + chunk.content, chunk))
        return self._body(choices, timings_member(merged[-1].metrics if merged else None)), JSON

    def _body(self, choices: list[bytes], rest: bytes = b"") -> bytes:
        members = (self._id, int(time.time()), self._tail, b",".join(choices), self._usage.json(), rest)
        return b'{"id":%s,"object":"text_completion","created":%d%s,"choices":[%s],"usage":%s%s}\n' % members

    def immediate(self, answer: Immediate, *, is_stream: bool) -> tuple[bytes, str]:
        chunk = Chunk(done=True, done_reason=answer.done_reason)
        if is_stream:
            data = self.stream([chunk])
            return data + (self.stream_end() if answer.rendered is None else b""), EVENT_STREAM
        return self._body([self._choice(0, "", chunk)]), JSON

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        return service_error(error)


def _likelihood(chunk: Chunk) -> float:
    """The mean log probability of a text's tokens."""
    entries = chunk.logprobs
    return sum(entry.logprob for entry in entries) / len(entries) if entries else -math.inf


def _legacy_logprobs(entries: Sequence[Logprob], offsets: Sequence[int]) -> bytes:
    """Log probabilities as lists side by side; offsets are characters of the text."""
    value = {
        "tokens": [_shown(entry) for entry in entries],
        "token_logprobs": [Float32(entry.logprob) for entry in entries],
        "top_logprobs": [{_shown(rival): Float32(rival.logprob) for rival in entry.top} for entry in entries],
        "text_offset": offsets,
    }
    return encode(value)


def _offsets(entries: Sequence[Logprob], start: int) -> list[int]:
    """Where each token begins in the text, and where the last one ends; a part of a character has no length."""
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    offsets = [start]
    for entry in entries:
        offsets.append(offsets[-1] + len(characters.decode(bytes(entry.bytes))))
    return offsets


def _shown(entry: Logprob | TopLogprob) -> str:
    """The text of a token, or `bytes:` and its bytes, as OpenAI shows one that is not text by itself."""
    try:
        return bytes(entry.bytes).decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in entry.bytes)
