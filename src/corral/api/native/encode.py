"""Answers of generate and chat as JSON, keys in Ollama's order.

One line is made for every token, so the parts that do not change within an answer are made once.
"""

from __future__ import annotations

from typing import Any

from corral.api.http.waits import native_member
from corral.golang.json import Float32, encode, escape_string, format_utc_now
from corral.inference.requests import Immediate
from corral.types import Chunk, GenerationMetrics, Logprob, ToolCall


class _Encoder:
    """Shared by both surfaces: the head of every line, and the parts with equal names."""

    def __init__(self, model: str) -> None:
        self._head = b'{"model":' + escape_string(model) + b',"created_at":"'

    def _start(self) -> bytes:
        return self._head + format_utc_now().encode("ascii") + b'",'


class GenerateEncoder(_Encoder):
    """`/api/generate`."""

    def line(self, chunk: Chunk) -> bytes:
        parts = [self._start(), b'"response":', escape_string(chunk.content)]
        if chunk.thinking:
            parts += (b',"thinking":', escape_string(chunk.thinking))
        if not chunk.done and not chunk.logprobs and not chunk.tool_calls:
            parts.append(b',"done":false}')
            return b"".join(parts)
        parts.append(b',"done":true' if chunk.done else b',"done":false')
        if chunk.done_reason:
            parts += (b',"done_reason":', escape_string(chunk.done_reason))
        if chunk.context:
            parts += (b',"context":', encode(list(chunk.context)))
        parts += _metrics(chunk.metrics)
        if chunk.tool_calls:
            parts += (b',"tool_calls":', encode([_tool_call(call) for call in chunk.tool_calls]))
        if chunk.logprobs:
            parts += (b',"logprobs":', encode([logprob_json(entry) for entry in chunk.logprobs]))
        parts += _notes(chunk)
        parts.append(b"}")
        return b"".join(parts)

    def immediate(self, answer: Immediate) -> bytes:
        """A load, an unload, or the rendered prompt."""
        return self._start() + b'"response":"",' + _immediate_tail(answer)


class ChatEncoder(_Encoder):
    """`/api/chat`."""

    def line(self, chunk: Chunk) -> bytes:
        parts = [self._start(), b'"message":{"role":"assistant","content":', escape_string(chunk.content)]
        if chunk.thinking:
            parts += (b',"thinking":', escape_string(chunk.thinking))
        if not chunk.done and not chunk.logprobs and not chunk.tool_calls:
            parts.append(b'},"done":false}')
            return b"".join(parts)
        if chunk.tool_calls:
            parts += (b',"tool_calls":', encode([_tool_call(call) for call in chunk.tool_calls]))
        parts.append(b'},"done":true' if chunk.done else b'},"done":false')
        if chunk.done_reason:
            parts += (b',"done_reason":', escape_string(chunk.done_reason))
        if chunk.logprobs:
            parts += (b',"logprobs":', encode([logprob_json(entry) for entry in chunk.logprobs]))
        parts += _metrics(chunk.metrics)
        parts += _notes(chunk)
        parts.append(b"}")
        return b"".join(parts)

    def immediate(self, answer: Immediate) -> bytes:
        """A load, an unload, or the rendered prompt (whose message has no role)."""
        role = b"" if answer.rendered is not None else b"assistant"
        message = b'"message":{"role":"' + role + b'","content":""},'
        return self._start() + message + _immediate_tail(answer)


def _immediate_tail(answer: Immediate) -> bytes:
    if answer.rendered is None:
        return b'"done":true,"done_reason":' + escape_string(answer.done_reason) + b"}"
    count = b',"image_count":%d' % answer.image_count if answer.image_count else b""
    rendered = escape_string(answer.rendered)
    return b'"done":false,"_debug_info":{"rendered_template":' + rendered + count + b"}}"


def _metrics(metrics: GenerationMetrics | None) -> list[bytes]:
    if metrics is None:
        return []
    members = (
        (b"total_duration", metrics.total_duration_ns),
        (b"load_duration", metrics.load_duration_ns),
        (b"prompt_eval_count", metrics.prompt_eval_count),
        (b"prompt_eval_cached_count", metrics.cached_count),
        (b"prompt_eval_duration", metrics.prompt_eval_duration_ns),
        (b"eval_count", metrics.eval_count),
        (b"eval_duration", metrics.eval_duration_ns),
    )
    found = [b',"%s":%d' % (name, value) for name, value in members if value]
    if metrics.draft_count is not None:  # asked for, so that zeros say something
        found.append(b',"draft_count":%d' % metrics.draft_count)
        found.append(b',"draft_accepted_count":%d' % (metrics.draft_accepted_count or 0))
    return found + native_member(metrics)


def _notes(chunk: Chunk) -> list[bytes]:
    """Ours alone, and only when it happened: the prompt was cut to fit the context, a schema is not held whole."""
    notes = []
    if chunk.truncated_count:
        notes.append(b',"truncated":true,"truncated_count":%d' % chunk.truncated_count)
    if chunk.format_unenforced:
        notes += [b',"format_unenforced":', encode(list(chunk.format_unenforced))]
    return notes


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"index": call.index, "name": call.name, "arguments": call.arguments}
    return {"id": call.id, "function": function} if call.id else {"function": function}


def logprob_json(entry: Logprob) -> dict[str, Any]:
    """A token with its log probability, and its rivals if there are any."""
    encoded: dict[str, Any] = {"token": entry.token, "logprob": Float32(entry.logprob)}
    if entry.bytes:
        encoded["bytes"] = list(entry.bytes)
    if entry.top:
        encoded["top_logprobs"] = [
            {"token": rival.token, "logprob": Float32(rival.logprob)}
            | ({"bytes": list(rival.bytes)} if rival.bytes else {})
            for rival in entry.top
        ]
    return encoded


def merge_chunks(chunks: list[Chunk], *, keeps_calls: bool) -> Chunk:
    """All pieces of an answer as one, for `stream: false`: texts joined, the end from the last piece.

    Without `keeps_calls` only the last piece's tool calls stay.
    """
    last = chunks[-1] if chunks else Chunk()
    return Chunk(
        content="".join([chunk.content for chunk in chunks]),
        thinking="".join([chunk.thinking for chunk in chunks]),
        tool_calls=tuple(call for chunk in (chunks if keeps_calls else [last]) for call in chunk.tool_calls),
        logprobs=tuple(entry for chunk in chunks for entry in chunk.logprobs),
        done=last.done,
        done_reason=last.done_reason,
        metrics=last.metrics,
        context=last.context,
        truncated_count=last.truncated_count,
        format_unenforced=last.format_unenforced,
        stop_word=last.stop_word,
    )
