"""Answers of `/v1/messages`: one message object, or the run of events that builds it.

A delta event is made for every token, so its unchanging parts are made once for each block. Ollama:
anthropic/anthropic.go StreamConverter; unlike it, thinking that goes on after text opens a block of its own, and
an error ends a stream with an `error` event.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from corral.api.anthropic.convert import SEARCH_TOOL
from corral.api.anthropic.errors import error_event, service_error
from corral.api.http.answering import Whole
from corral.api.http.exchange import JSON
from corral.api.http.sse import EVENT_STREAM, named_frame
from corral.api.native.encode import merge_chunks
from corral.api.openai.encode import arguments_json
from corral.errors import CorralError
from corral.golang.json import encode, escape_string
from corral.inference.requests import Immediate
from corral.types import Chunk, GenerationMetrics, ToolCall

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "deadline": "max_tokens", "": ""}
_BLOCK_STOP = b"event: content_block_stop\ndata: " + b'{"type":"content_block_stop","index":%d}\n\n'
_MESSAGE_STOP = named_frame("message_stop", b'{"type":"message_stop"}')
_DELTA_HEAD = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
)


class MessageWriter:
    """One answer under way. `has_search`: calls of `web_search` are the server's to answer."""

    stream_type = EVENT_STREAM

    def __init__(
        self,
        model: str,
        *,
        estimate: int,
        keeps_calls: bool,
        has_search: bool,
        stop_sequences: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._hex = secrets.token_hex(12)
        self._estimate = estimate
        self._keeps_calls = keeps_calls
        self._has_search = has_search
        self._stop_sequences = stop_sequences
        self._is_started = self._is_ended = False
        self._index = 0
        self._open = ""
        self._delta_head = b""
        self._has_calls = False
        self._search: ToolCall | None = None
        self._delta_count = 0

    def stream(self, chunks: list[Chunk]) -> bytes:
        parts: list[bytes] = []
        for chunk in chunks:
            is_plain = chunk.content and not (chunk.done or chunk.thinking or chunk.tool_calls)
            if is_plain and self._open == "text" and self._search is None:
                self._delta(parts, "text", chunk.content)  # the path of nearly every token
            else:
                self._feed(parts, chunk)
        return b"".join(parts)

    def _feed(self, parts: list[bytes], chunk: Chunk) -> None:
        if self._search is None:
            self._search = self._search_in(chunk)
        if self._search is not None:
            # The blocks of a search come with the end, and nothing else does.
            if chunk.done:
                self._start(parts, chunk.metrics)
                self._end_with_search(parts, self._search, chunk.metrics)
            return
        self._start(parts, chunk.metrics)
        if chunk.thinking:
            self._delta(parts, "thinking", chunk.thinking)
        if chunk.content:
            self._delta(parts, "text", chunk.content)
        for call in chunk.tool_calls:
            self._call(parts, call)
        if chunk.done:
            stop = self._stop(chunk, has_calls=self._has_calls)
            self._end(parts, stop, chunk.metrics, chunk.format_unenforced)

    def _delta(self, parts: list[bytes], kind: str, text: str) -> None:
        if self._open != kind:
            self._close_block(parts)
            self._open_block(parts, {"type": kind, kind: ""})
            self._open = kind
            name = kind.encode("ascii")
            self._delta_head = _DELTA_HEAD % (self._index, name + b"_delta", name)
        self._delta_count += 1
        # Put together at once: the encoder's buffers are large, and many alive cost more than the encoding.
        parts.append(b"%s%s}}\n\n" % (self._delta_head, escape_string(text)))

    def _call(self, parts: list[bytes], call: ToolCall) -> None:
        self._close_block(parts)
        self._has_calls = True
        self._open_block(parts, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        head = _DELTA_HEAD % (self._index, b"input_json_delta", b"partial_json")
        parts.append(b"%s%s}}\n\n" % (head, escape_string(arguments_json(call.arguments).decode())))
        self._open = "tool_use"
        self._close_block(parts)

    def _start(self, parts: list[bytes], metrics: GenerationMetrics | None) -> None:
        if self._is_started:
            return
        self._is_started = True
        counted = metrics.prompt_eval_count if metrics is not None else 0
        usage = {"input_tokens": counted or self._estimate, "output_tokens": 0}
        event = {"type": "message_start", "message": {**self._envelope([]), "usage": usage}}
        parts.append(named_frame("message_start", encode(event)))

    def _open_block(self, parts: list[bytes], block: dict[str, Any]) -> None:
        event = {"type": "content_block_start", "index": self._index, "content_block": block}
        parts.append(named_frame("content_block_start", encode(event)))

    def _close_block(self, parts: list[bytes]) -> None:
        if self._open:
            parts.append(_BLOCK_STOP % self._index)
            self._index += 1
            self._open = ""

    def _end(
        self,
        parts: list[bytes],
        stop: dict[str, str],
        metrics: GenerationMetrics | None,
        unenforced: Sequence[str] = (),
    ) -> None:
        self._close_block(parts)
        event: dict[str, Any] = {"type": "message_delta", "delta": stop, "usage": _usage(metrics)}
        if unenforced:
            event["format_unenforced"] = list(unenforced)
        parts += (named_frame("message_delta", encode(event)), _MESSAGE_STOP)
        self._is_ended = True

    def _end_with_search(self, parts: list[bytes], call: ToolCall, metrics: GenerationMetrics | None) -> None:
        self._close_block(parts)
        for block in self._search_blocks(call):
            self._open_block(parts, block)
            self._open = "block"
            self._close_block(parts)
        self._end(parts, {"stop_reason": "end_turn"}, metrics)

    def stream_end(self) -> bytes:
        """Nothing, unless the reply was broken off (it repeated itself): then the end that is still due."""
        parts: list[bytes] = []
        if not self._is_ended:
            self._start(parts, None)
            counts = GenerationMetrics(prompt_eval_count=self._estimate, eval_count=self._delta_count)
            self._end(parts, self._stop(Chunk(done_reason="stop"), has_calls=self._has_calls), counts)
        return b"".join(parts)

    def stream_error(self, error: CorralError) -> bytes:
        return named_frame("error", error_event(error))

    def whole(self, chunks: list[Chunk]) -> Whole:
        chunk = merge_chunks(chunks, keeps_calls=self._keeps_calls)
        search = self._search_in(chunk)
        content: list[dict[str, Any]] = []
        if chunk.thinking:
            content.append({"type": "thinking", "thinking": chunk.thinking})
        if chunk.content:
            content.append({"type": "text", "text": chunk.content})
        if search is not None:
            content += self._search_blocks(search)
            stop = {"stop_reason": "end_turn"}
        else:
            content += [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in chunk.tool_calls
            ]
            stop = self._stop(chunk, has_calls=bool(chunk.tool_calls))
        message = {**self._envelope(content), **stop, "usage": _usage(chunk.metrics)}
        if chunk.format_unenforced:
            message["format_unenforced"] = list(chunk.format_unenforced)
        return encode(message) + b"\n", JSON

    def immediate(self, answer: Immediate, *, is_stream: bool) -> Whole:
        chunk = Chunk(done=True, done_reason=answer.done_reason)
        return (self.stream([chunk]), EVENT_STREAM) if is_stream else self.whole([chunk])

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        return service_error(error, has_search=self._has_search)

    def _envelope(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"msg_{self._hex}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
        }

    def _search_in(self, chunk: Chunk) -> ToolCall | None:
        if not self._has_search:
            return None
        return next((call for call in chunk.tool_calls if call.name == SEARCH_TOOL), None)

    def _search_blocks(self, call: ToolCall) -> list[dict[str, Any]]:
        """A search and how it ended: this server has nothing to search with."""
        query = call.arguments.get("query")
        query = query if isinstance(query, str) else ""
        use_id = f"srvtoolu_{self._hex}"
        failure = {
            "type": "web_search_tool_result_error",
            "error_code": "unavailable" if query else "invalid_request",
        }
        return [
            {"type": "server_tool_use", "id": use_id, "name": SEARCH_TOOL, "input": {"query": query}},
            {"type": "web_search_tool_result", "tool_use_id": use_id, "content": failure},
        ]

    def _stop(self, chunk: Chunk, *, has_calls: bool) -> dict[str, str]:
        """Why the answer ended; a sequence only if the request named it, as the model has some too."""
        if has_calls:
            return {"stop_reason": "tool_use"}
        if chunk.stop_word and chunk.stop_word in self._stop_sequences:
            return {"stop_reason": "stop_sequence", "stop_sequence": chunk.stop_word}
        reason = _STOP_REASONS.get(chunk.done_reason, "stop_sequence")
        return {"stop_reason": reason} if reason else {}


def _usage(metrics: GenerationMetrics | None) -> dict[str, int]:
    counts = metrics or GenerationMetrics()
    return {"input_tokens": counts.prompt_eval_count, "output_tokens": counts.eval_count}
