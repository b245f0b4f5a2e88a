"""How `/v1/chat/completions` writes an answer: as chunks of a stream, or whole."""

from __future__ import annotations

import time
from collections.abc import Sequence

from corral.api.http.exchange import JSON
from corral.api.http.sse import DONE, EVENT_STREAM, frame
from corral.api.http.waits import timings_member
from corral.api.native.encode import logprob_json, merge_chunks
from corral.api.openai.encode import FINGERPRINT, UsageCount, known_reason, new_id, tool_calls_json
from corral.api.openai.errors import error_event, service_error
from corral.errors import CorralError
from corral.golang.json import encode, escape_string
from corral.inference.requests import Immediate
from corral.types import Chunk, Logprob


class ChatWriter:
    """One answer. `keeps_calls`: the request offered tools (see `merge_chunks`)."""

    stream_type = EVENT_STREAM

    def __init__(
        self,
        model: str,
        *,
        choice_count: int,
        keeps_calls: bool,
        has_stream_usage: bool,
        has_usage_details: bool,
        has_reasoning_content: bool,
    ) -> None:
        self._model = escape_string(model)
        self._id = new_id("chatcmpl")
        self._choice_count = choice_count
        self._keeps_calls = keeps_calls
        self._has_stream_usage = has_stream_usage
        self._has_reasoning_content = has_reasoning_content
        self._usage = UsageCount(choice_count, has_details=has_usage_details)
        self._head = b""  # of every chunk; made with the first, whose time all of them carry
        self._opened: set[int] = set()
        self._called: set[int] = set()
        self._finished: set[int] = set()

    def stream(self, chunks: list[Chunk]) -> bytes:
        parts: list[bytes] = []
        for chunk in chunks:
            is_plain = not (chunk.done or chunk.thinking or chunk.tool_calls or chunk.logprobs)
            if is_plain and chunk.choice in self._opened:
                # The path of nearly every token.
                content = escape_string(chunk.content)
                parts.append(
                    b'%s{"index":%d,"delta":{"content":%s},"finish_reason":null}]}\n\n'
                    % (self._head, chunk.choice, content)
                )
            else:
                self._stream_any(parts, chunk)
        return b"".join(parts)

    def _stream_any(self, parts: list[bytes], chunk: Chunk) -> None:
        if not self._head:
            self._head = b"data: " + self._envelope(b"chat.completion.chunk") + b',"choices":['
        has_rest = bool(chunk.content or chunk.tool_calls)
        if chunk.tool_calls:
            self._called.add(chunk.choice)
        if chunk.thinking and has_rest:
            self._chunk(parts, chunk.choice, self._reasoning(chunk.thinking), chunk.logprobs)
            self._chunk(parts, chunk.choice, self._delta(chunk, thinking=""), ())
        elif (
            has_rest or chunk.thinking or chunk.logprobs or not chunk.done or chunk.choice not in self._opened
        ):
            self._chunk(parts, chunk.choice, self._delta(chunk, chunk.thinking), chunk.logprobs)
        if chunk.done:
            self._finish(parts, chunk)
            self._usage.add(chunk.choice, chunk.metrics)

    def _reasoning(self, text: str) -> bytes:
        escaped = escape_string(text)
        twin = b',"reasoning_content":' + escaped if self._has_reasoning_content else b""
        return b'"reasoning":' + escaped + twin

    def _delta(self, chunk: Chunk, thinking: str) -> bytes:
        delta = b'"content":' + escape_string(chunk.content)
        if thinking:
            delta += b"," + self._reasoning(thinking)
        if chunk.tool_calls:
            delta += b',"tool_calls":' + tool_calls_json(chunk.tool_calls)
        return delta

    def _chunk(self, parts: list[bytes], choice: int, delta: bytes, logprobs: Sequence[Logprob]) -> None:
        if choice not in self._opened:
            self._opened.add(choice)
            delta = b'"role":"assistant",' + delta
        tail = b',"logprobs":' + _logprobs(logprobs) if logprobs else b""
        parts += (self._head, b'{"index":%d,"delta":{' % choice, delta, b'},"finish_reason":null')
        parts += (tail, b"}]}\n\n")

    def _finish(self, parts: list[bytes], chunk: Chunk) -> None:
        choice, reason = chunk.choice, known_reason(chunk.done_reason)
        self._finished.add(choice)
        if reason in ("", "stop"):
            reason = "tool_calls" if choice in self._called else "stop"
        parts += (self._head, b'{"index":%d,"delta":{},"finish_reason":' % choice)
        rest = _unenforced(chunk.format_unenforced) + timings_member(chunk.metrics)
        parts += (escape_string(reason), b"}]", rest, b"}\n\n")

    def stream_end(self) -> bytes:
        parts: list[bytes] = []
        for choice in range(self._choice_count):
            # A reply that repeats itself is stopped without a last chunk.
            if choice not in self._finished:
                self._stream_any(parts, Chunk(done=True, choice=choice))
        if self._has_stream_usage:
            parts += (self._head, b'],"usage":', self._usage.json(), b"}\n\n")
        return b"".join(parts) + DONE

    def stream_error(self, error: CorralError) -> bytes:
        return frame(error_event(error))

    def whole(self, chunks: list[Chunk]) -> tuple[bytes, str]:
        by_choice: list[list[Chunk]] = [[] for _ in range(self._choice_count)]
        for chunk in chunks:
            by_choice[chunk.choice].append(chunk)
        choices = []
        unenforced: tuple[str, ...] = ()
        timings = b""
        for number, own in enumerate(by_choice):
            merged = merge_chunks(own, keeps_calls=self._keeps_calls)
            self._usage.add(number, merged.metrics)
            unenforced = merged.format_unenforced or unenforced
            timings = timings_member(merged.metrics) or timings
            choices.append(self._choice(number, merged, "assistant"))
        return self._body(choices, _unenforced(unenforced) + timings), JSON

    def _choice(self, number: int, chunk: Chunk, role: str) -> bytes:
        message = b'"role":"%s","content":%s' % (role.encode("ascii"), escape_string(chunk.content))
        if chunk.thinking:
            message += b"," + self._reasoning(chunk.thinking)
        if chunk.tool_calls:
            message += b',"tool_calls":' + tool_calls_json(chunk.tool_calls)
        reason = known_reason(chunk.done_reason)
        if reason == "stop" and chunk.tool_calls:
            reason = "tool_calls"
        reason_json = escape_string(reason) if reason else b"null"
        tail = b',"logprobs":' + _logprobs(chunk.logprobs) if chunk.logprobs else b""
        return b'{"index":%d,"message":{%s},"finish_reason":%s%s}' % (number, message, reason_json, tail)

    def _body(self, choices: list[bytes], rest: bytes = b"") -> bytes:
        head = self._envelope(b"chat.completion")
        usage = self._usage.json()
        return b'%s,"choices":[%s],"usage":%s%s}\n' % (head, b",".join(choices), usage, rest)

    def immediate(self, answer: Immediate, *, is_stream: bool) -> tuple[bytes, str]:
        chunk = Chunk(done=answer.rendered is None, done_reason=answer.done_reason)
        if is_stream:
            end = DONE if answer.rendered is None else b""
            data = self.stream([chunk])
            if end and self._has_stream_usage:
                data += self._head + b'],"usage":' + self._usage.json() + b"}\n\n"
            return data + end, EVENT_STREAM
        if answer.rendered is None:
            return self._body([self._choice(0, chunk, "assistant")]), JSON
        info = {"rendered_template": answer.rendered}
        count = {"image_count": answer.image_count} if answer.image_count else {}
        return self._body([self._choice(0, chunk, "")], b',"_debug_info":' + encode(info | count)), JSON

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        return service_error(error)

    def _envelope(self, kind: bytes) -> bytes:
        members = (self._id, kind, int(time.time()), self._model, FINGERPRINT)
        return b'{"id":%s,"object":"%s","created":%d,"model":%s,%s' % members


def _unenforced(places: Sequence[str]) -> bytes:
    """Ours alone, and only when there are any: what of a schema the answer was not held to."""
    return b',"format_unenforced":' + encode(list(places)) if places else b""


def _logprobs(entries: Sequence[Logprob]) -> bytes:
    return encode({"content": [logprob_json(entry) for entry in entries]})
