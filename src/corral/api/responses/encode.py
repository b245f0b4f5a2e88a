"""The answer of `/v1/responses`: output items made of chunks, and the run of events that reports them.

Ollama: openai/responses.go ResponsesStreamConverter. Unlike it, text before a tool call is kept as an item of its
own that is closed before the call's is opened, and an error ends a stream with `response.failed`. A delta event is
made for every token, so its unchanging parts are made once for each item.
"""

from __future__ import annotations

import time
from typing import Any

from corral.api.http.answering import Whole
from corral.api.http.errors import hint_of, status_of, text_of
from corral.api.http.exchange import JSON
from corral.api.http.sse import EVENT_STREAM, named_frame
from corral.api.openai.encode import arguments_json, id_digits
from corral.api.openai.errors import code_of, envelope, message_of, service_error
from corral.api.responses import objects
from corral.api.responses.convert import SEARCH_TOOL, custom_names, has_search
from corral.api.responses.protocol import ResponsesRequest
from corral.errors import CorralError
from corral.golang.json import encode, encode_sorted, escape_string
from corral.inference.requests import Immediate
from corral.types import Chunk, GenerationMetrics, ToolCall

_ERROR_CODES = {401: "authentication_error", 429: "rate_limit_exceeded"}


class SearchFailedError(CorralError):
    """The model searched the web, and this server has nothing to search with."""

    def __init__(self, query: str) -> None:
        super().__init__(
            "ollama cloud is disabled: web search is unavailable"
            if query
            else "web_search requires a non-empty string query"
        )
        self.status = 403 if query else 502


class ResponseWriter:
    """One response under way. `feed` takes its chunks as they come; the other methods say what to send."""

    stream_type = EVENT_STREAM

    def __init__(
        self, request: ResponsesRequest, *, is_stored: bool, has_usage_details: bool = False
    ) -> None:
        self._request = request
        self._has_usage_details = has_usage_details
        self._number = id_digits()
        self.response_id = f"resp_{self._number}"
        self.is_stored = is_stored
        self._has_search = has_search(request)
        self._custom_names = custom_names(request)
        self._created_s = int(time.time())
        self._events: list[bytes] = []
        self._serial = 0
        self._output: list[dict[str, Any]] = []
        self._metrics: GenerationMetrics | None = None
        self._is_started = False
        # The item that is open: its kind, its id, its text so far, and the bytes around each of its deltas.
        self._kind = ""
        self._item_id = ""
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._delta_head = self._delta_tail = b""
        self._call_count = 0
        self._is_cut = False
        self._search: SearchFailedError | None = None
        self._format_unenforced: tuple[str, ...] = ()

    def feed(self, chunks: list[Chunk]) -> None:
        """Take the next chunks. What follows a call of the server's search is not part of the answer."""
        for chunk in chunks:
            if not self._is_started:
                self._start()
            if chunk.metrics is not None:
                self._metrics = chunk.metrics
            if self._search is not None:
                continue
            if chunk.thinking:
                self._delta("reasoning", chunk.thinking)
            if chunk.content:
                self._delta("message", chunk.content, chunk)
            for call in chunk.tool_calls:
                if self._has_search and call.name == SEARCH_TOOL:
                    self._begin_search(call)
                    break
                self._call(call)
        if chunks and chunks[-1].done:
            self._is_cut = chunks[-1].done_reason in ("length", "deadline")
            self._format_unenforced = chunks[-1].format_unenforced
            self._close()

    def check_search(self) -> None:
        """Once everything was fed.

        Raises:
            SearchFailedError: the model called the server's search.
        """
        if self._search is not None:
            raise self._search

    def final(self) -> dict[str, Any]:
        """The whole response, once everything was fed. One that is not streamed has a message, if an empty one."""
        self._close()
        is_silent = all(item["type"] == "reasoning" for item in self._output)
        if is_silent and not self._request.is_stream:
            self._output.append(objects.message_item(f"msg_{id_digits()}", "", [], self._status))
        response = self._object(completed_s=int(time.time()), output=self._output, metrics=self._metrics)
        if self._is_cut:
            response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        if self._format_unenforced:
            response["format_unenforced"] = list(self._format_unenforced)
        return response

    @property
    def _status(self) -> str:
        """That of the item which is the last one if the answer was cut."""
        return "incomplete" if self._is_cut else "completed"

    @property
    def output(self) -> list[dict[str, Any]]:
        return self._output

    def _object(
        self,
        *,
        completed_s: int | None = None,
        output: list[dict[str, Any]],
        metrics: GenerationMetrics | None = None,
    ) -> dict[str, Any]:
        return objects.response_object(
            self._request,
            self.response_id,
            self._created_s,
            is_stored=self.is_stored,
            completed_s=completed_s,
            output=output,
            usage=None
            if completed_s is None
            else objects.usage_object(metrics, has_details=self._has_usage_details),
        )

    def _event(self, name: str, members: dict[str, Any]) -> None:
        if self._request.is_stream:
            data = encode_sorted({**members, "sequence_number": self._serial, "type": name})
            self._events.append(named_frame(name, data))
            self._serial += 1

    def _start(self) -> None:
        self._is_started = True
        if not self._request.is_stream:
            return
        response = encode_sorted(_streamed(self._object(output=[])))
        for name in ("response.created", "response.in_progress"):
            tail = b',"sequence_number":%d,"type":"%s"}' % (self._serial, name.encode("ascii"))
            self._events.append(named_frame(name, b'{"response":' + response + tail))
            self._serial += 1

    @property
    def _index(self) -> int:
        return len(self._output)

    def _delta(self, kind: str, text: str, chunk: Chunk | None = None) -> None:
        if self._kind != kind:
            self._close()
            self._open(kind)
        self._texts.append(text)
        entries = objects.logprob_entries(chunk.logprobs) if chunk is not None and chunk.logprobs else []
        self._logprobs += entries
        if self._request.is_stream:
            tail = self._delta_tail % self._serial
            if entries:
                tail = tail.replace(b'"logprobs":[]', b'"logprobs":' + encode_sorted(entries), 1)
            # Put together at once: the encoder's buffers are large, and many alive cost more than the encoding.
            self._events.append(b"%s%s%s" % (self._delta_head, escape_string(text), tail))
            self._serial += 1

    def _open(self, kind: str) -> None:
        self._kind = kind
        self._item_id = f"{'rs' if kind == 'reasoning' else 'msg'}_{id_digits()}"
        place = {"item_id": self._item_id, "output_index": self._index}
        item_id, index = self._item_id.encode("ascii"), b"%d" % self._index
        if kind == "reasoning":
            item: dict[str, Any] = {"id": self._item_id, "type": "reasoning", "summary": []}
            self._event("response.output_item.added", {"output_index": self._index, "item": item})
            part = {**place, "summary_index": 0, "part": objects.summary_part("")}
            self._event("response.reasoning_summary_part.added", part)
            name = b"response.reasoning_summary_text.delta"
            self._delta_head = b"event: " + name + b'\ndata: {"delta":'
            members = (b',"summary_index":0', b"")
        else:
            item = {"id": self._item_id, "type": "message", "role": "assistant", "content": []}
            item["status"] = "in_progress"
            self._event("response.output_item.added", {"output_index": self._index, "item": item})
            part = {**place, "content_index": 0, "part": objects.text_part("", [])}
            self._event("response.content_part.added", part)
            name = b"response.output_text.delta"
            self._delta_head = b"event: " + name + b'\ndata: {"content_index":0,"delta":'
            members = (b"", b',"logprobs":[]')
        self._delta_tail = (
            b',"item_id":"'
            + item_id
            + b'"'
            + members[1]
            + b',"output_index":'
            + index
            + b',"sequence_number":%d'
        ) + (members[0] + b',"type":"' + name + b'"}\n\n')

    def _close(self) -> None:
        """Close the item that is open, if any."""
        kind, self._kind = self._kind, ""
        if not kind:
            return
        text = "".join(self._texts)
        place = {"item_id": self._item_id, "output_index": self._index}
        if kind == "reasoning":
            item = objects.reasoning_item(self._item_id, text)
            place["summary_index"] = 0
            self._event("response.reasoning_summary_text.done", {**place, "text": text})
            part = objects.summary_part(text)
            self._event("response.reasoning_summary_part.done", {**place, "part": part})
        else:
            item = objects.message_item(self._item_id, text, self._logprobs, self._status)
            place["content_index"] = 0
            self._event("response.output_text.done", {**place, "text": text, "logprobs": self._logprobs})
            part = objects.text_part(text, self._logprobs)
            self._event("response.content_part.done", {**place, "part": part})
        self._event("response.output_item.done", {"output_index": self._index, "item": item})
        self._output.append(item)
        self._texts, self._logprobs = [], []

    def _call(self, call: ToolCall) -> None:
        self._close()
        if call.name in self._custom_names:
            self._custom_call(call)
            return
        item_id = f"fc_{self._number}_{self._call_count}"
        self._call_count += 1
        arguments = arguments_json(call.arguments).decode()
        place = {"item_id": item_id, "output_index": self._index}
        opened = objects.call_item(item_id, call, "", "in_progress")
        self._event("response.output_item.added", {"output_index": self._index, "item": opened})
        self._event("response.function_call_arguments.delta", {**place, "delta": arguments})
        self._event("response.function_call_arguments.done", {**place, "arguments": arguments})
        item = objects.call_item(item_id, call, arguments)
        self._event("response.output_item.done", {"output_index": self._index, "item": item})
        self._output.append(item)

    def _custom_call(self, call: ToolCall) -> None:
        """A call of a tool that takes a text."""
        item_id = f"ctc_{self._number}_{self._call_count}"
        self._call_count += 1
        given = call.arguments.get("input")
        text = given if isinstance(given, str) else arguments_json(call.arguments).decode()
        place = {"item_id": item_id, "output_index": self._index}
        item = objects.custom_call_item(item_id, call, "", "in_progress")
        self._event("response.output_item.added", {"output_index": self._index, "item": item})
        self._event("response.custom_tool_call_input.delta", {**place, "delta": text})
        self._event("response.custom_tool_call_input.done", {**place, "input": text})
        item = objects.custom_call_item(item_id, call, text)
        self._event("response.output_item.done", {"output_index": self._index, "item": item})
        self._output.append(item)

    def _begin_search(self, call: ToolCall) -> None:
        self._close()
        given = call.arguments.get("query")
        query = given if isinstance(given, str) else ""
        item_id = f"ws_{self._number}_1"
        action = {"type": "search", "query": query}
        item = {"id": item_id, "type": "web_search_call", "status": "in_progress", "action": action}
        place = {"item_id": item_id, "output_index": self._index}
        self._event("response.output_item.added", {"output_index": self._index, "item": item})
        for step in ("in_progress", "searching"):
            self._event(f"response.web_search_call.{step}", place)
        self._search = SearchFailedError(query)

    def stream(self, chunks: list[Chunk]) -> bytes:
        """What `feed` made of the chunks."""
        events, self._events = self._events, []
        return b"".join(events)

    def stream_end(self) -> bytes:
        response = _streamed(self.final())
        self._event(f"response.{response['status']}", {"response": response})
        return self.stream([])

    def stream_error(self, error: CorralError) -> bytes:
        if isinstance(error, SearchFailedError):
            response = self._failed_search(error)
        else:
            code = code_of(error) or _ERROR_CODES.get(status_of(error), "server_error")
            response = {
                **_streamed(self._object(output=self._output, metrics=self._metrics)),
                "status": "failed",
                "error": {"code": code, "message": message_of(error), **_hint_member(error)},
            }
        self._event("response.failed", {"response": response})
        return self.stream([])

    def _failed_search(self, error: SearchFailedError) -> dict[str, Any]:
        """The few members that Ollama gives here."""
        usage = objects.usage_object(self._metrics, has_details=False)
        return {
            "id": self.response_id,
            "object": "response",
            "status": "failed",
            "model": self._request.model,
            "output": [],
            "error": {
                "code": _ERROR_CODES.get(error.status, "api_error"),
                "message": text_of(error),
                **_hint_member(error),
            },
            "usage": {name: usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")},
        }

    def whole(self, chunks: list[Chunk]) -> Whole:
        return encode(self.final()) + b"\n", JSON

    def immediate(self, answer: Immediate, *, is_stream: bool) -> Whole:
        return (self.stream([]) + self.stream_end(), EVENT_STREAM) if is_stream else self.whole([])

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        if isinstance(error, SearchFailedError):
            return error.status, envelope(error.status, text_of(error), hint_of(error)) + b"\n", JSON
        return service_error(error)


def _hint_member(error: CorralError) -> dict[str, str]:
    """A member that the vendor does not have, where there is something to say."""
    hint = hint_of(error)
    return {"hint": hint} if hint else {}


def _streamed(response: dict[str, Any]) -> dict[str, Any]:
    """A response object as events carry it: effort and summary always there, tools without members."""
    reasoning = response["reasoning"]
    if reasoning is not None:
        reasoning = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    tools = [{name: tool[name] for name in tool if name != "tools"} for tool in response["tools"]]
    return {**response, "reasoning": reasoning, "tools": tools}
