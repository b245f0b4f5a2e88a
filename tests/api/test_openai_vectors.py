"""Recorded requests and answers of chat completions, completions and embeddings, on the conversions alone.

Each vector has a request with the native request it stands for, or its error; or the chunks that a model gave with
the answer that the real server made of them.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from corral.api.http.answering import AnswerWriter
from corral.api.openai.chat_writer import ChatWriter
from corral.api.openai.completion_writer import CompletionWriter
from corral.api.openai.encode import embedding_parts
from corral.api.openai.errors import service_error
from corral.api.openai.protocol import read_chat, read_completion, read_embeddings
from corral.errors import EngineError, InvalidRequestError, ModelNotFoundError, QueueFullError
from corral.inference.requests import ChatRequest, EmbedResult, GenerateRequest, Immediate
from corral.types import Chunk, GenerationMetrics, Logprob, Message, Tool, ToolCall, ToolProperty

_LINES = (Path(__file__).parent / "openai_vectors.jsonl").read_text().splitlines()
VECTORS = {vector["id"]: vector for vector in map(json.loads, _LINES)}
# Recorded faults that are mended, and what users asked to be otherwise (docs/differences.md): tool results in parts
# lose whose they are, an error in a stream is silent, a list of prompts is refused.
MENDED = {"C11", "C25", "C35", "C40", "C89", "C101"}
MAX_DEPTH = 100
READERS: dict[str, Any] = {"chat": read_chat, "comp": read_completion, "emb": read_embeddings}


def body_of(vector: dict[str, Any]) -> bytes:
    body = vector["body"]
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def with_kind(kind: str) -> list[str]:
    """Ids of vectors that have the member `kind`."""
    return [name for name, vector in VECTORS.items() if kind in vector and name not in MENDED]


def native_chat(request: ChatRequest, *, is_stream: bool) -> dict[str, Any]:
    common = request.common
    value: dict[str, Any] = {"model": common.model, "stream": is_stream, "options": common.options}
    value["messages"] = [native_message(message) for message in request.messages] or None
    if common.format:
        value["format"] = json.loads(common.format)
    if request.tools:
        value["tools"] = [native_tool(tool) for tool in request.tools]
    if common.think is not None:
        value["think"] = common.think
    if common.logprobs:
        value |= {"logprobs": True, "top_logprobs": common.top_logprobs}
    return value


def native_message(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        value["thinking"] = message.thinking
    if message.images:
        value["images"] = [base64.b64encode(image).decode() for image in message.images]
    if message.tool_calls:
        value["tool_calls"] = [
            {"id": call.id, "function": {"index": call.index, "name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    named = {"tool_name": message.tool_name, "tool_call_id": message.tool_call_id}
    return value | {name: text for name, text in named.items() if text}


def native_tool(tool: Tool) -> dict[str, Any]:
    def native_property(given: ToolProperty) -> dict[str, Any]:
        types = list(given.types)
        return {"type": types[0] if len(types) == 1 else types}

    parameters = tool.function.parameters
    properties = {name: native_property(given) for name, given in (parameters.properties or {}).items()}
    value: dict[str, Any] = {"type": parameters.type, "properties": properties}
    if parameters.required:
        value["required"] = list(parameters.required)
    return {"type": tool.type, "function": {"name": tool.function.name, "parameters": value}}


def native_generate(request: GenerateRequest, *, is_stream: bool) -> dict[str, Any]:
    common = request.common
    value: dict[str, Any] = {
        "model": common.model,
        "prompt": request.prompt,
        "suffix": request.suffix,
        "system": request.system,
        "template": request.template,
        "stream": is_stream,
        "options": common.options,
    }
    return value | ({"logprobs": True, "top_logprobs": common.top_logprobs} if common.logprobs else {})


@pytest.mark.parametrize("name", with_kind("native"))
def test_request(name: str) -> None:
    """The native request that a body stands for."""
    vector = VECTORS[name]
    call = READERS[vector["ep"]](body_of(vector), MAX_DEPTH)
    wanted = dict(vector["native"])
    if vector["ep"] == "chat":
        # Null is no format.
        if wanted.get("format", ...) is None:
            del wanted["format"]
        assert native_chat(call.request, is_stream=call.answer.is_stream) == wanted
    elif vector["ep"] == "comp":
        assert native_generate(call.requests[0], is_stream=call.answer.is_stream) == wanted
    else:
        request = call.request
        got = {"model": request.model, "input": list(request.inputs), "dimensions": request.dimensions}
        assert got | {"options": request.options} == wanted


@pytest.mark.parametrize("name", with_kind("error"))
def test_refused(name: str) -> None:
    """The text of an error; syntax errors are told in words of our own."""
    vector = VECTORS[name]
    with pytest.raises(InvalidRequestError) as refused:
        READERS[vector["ep"]](body_of(vector), MAX_DEPTH)
    if "invalid character" in vector["error"]:
        assert "invalid character" in str(refused.value)
    else:
        assert str(refused.value) == vector["error"]


def chunks_of(vector: dict[str, Any]) -> list[Chunk]:
    return [
        Chunk(
            given.get("c", ""),
            given.get("t", ""),
            tuple(ToolCall(called, arguments, id=key) for key, called, arguments in given.get("k", ())),
            tuple(Logprob(e["token"], e["logprob"], tuple(e["bytes"])) for e in given.get("lp", ())),
            done="done" in given,
            done_reason=given.get("done", ""),
            metrics=GenerationMetrics(prompt_eval_count=given.get("pe", 0), eval_count=given.get("ec", 0)),
        )
        for given in vector["chunks"]
    ]


def form_of(vector: dict[str, Any]) -> AnswerWriter:
    call = READERS[vector["ep"]](body_of(vector), MAX_DEPTH)
    if vector["ep"] == "chat":
        return ChatWriter(
            call.request.common.model,
            choice_count=1,
            keeps_calls=True,
            has_stream_usage=call.answer.has_stream_usage,
            has_usage_details=False,
            has_reasoning_content=False,
        )
    return CompletionWriter(
        call.requests[0].common.model,
        prompt_count=1,
        given_per_prompt=1,
        made_per_prompt=1,
        echoes=(),
        logprob_count=0,
        has_stream_usage=call.answer.has_stream_usage,
        has_usage_details=False,
    )


def masked(data: bytes) -> str:
    text = re.sub(r'"(chatcmpl|cmpl)-\d+"', r'"\1-N"', data.decode())
    return re.sub(r'"created":\d+', '"created":0', text)


def written(value: Any) -> str:
    """JSON as the server writes it, with the times and ids of a vector masked."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for char, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(char, escaped)
    return re.sub(r'"created":(\d+|"NOW")', '"created":0', text)


@pytest.mark.parametrize("name", with_kind("sse"))
@pytest.mark.parametrize("is_batched", [False, True])
def test_streamed_answer(name: str, is_batched: bool) -> None:
    """The bytes of the frames, whether chunks come one by one or together; later ones of a vector are abridged."""
    vector = VECTORS[name]
    form, chunks = form_of(vector), chunks_of(vector)
    if chunks == [Chunk(done=True, done_reason="load", metrics=chunks[0].metrics)]:
        data, _ = form.immediate(Immediate("load"), is_stream=True)
    else:
        batches = [chunks] if is_batched else [[chunk] for chunk in chunks]
        data = b"".join([form.stream(batch) for batch in batches]) + form.stream_end()
    frames = masked(data).split("\n\n")
    assert frames.pop() == ""
    assert frames.pop() == "data: [DONE]"
    wanted = vector["sse"]
    assert wanted[-1] == "[DONE]"
    head = {
        member: wanted[0][member] for member in ("id", "object", "created", "model", "system_fingerprint")
    }
    for frame, event in zip(frames, wanted[:-1], strict=True):
        assert frame.startswith("data: ")
        got = json.loads(frame[6:])
        assert got == {**json.loads(written(head)), **event, "created": 0}
    assert frames[0][6:] == written(wanted[0])


@pytest.mark.parametrize("name", [name for name in with_kind("json") if VECTORS[name].get("status") == 200])
def test_whole_answer(name: str) -> None:
    """The bytes of the body, its line end too."""
    vector = VECTORS[name]
    if vector["ep"] == "emb":
        native = vector["chunks"][0]
        result = EmbedResult(embeddings=native["embeddings"], prompt_count=native["prompt_eval_count"])
        head, rows, tail = embedding_parts(read_embeddings(body_of(vector), MAX_DEPTH), result)
        data = head + b",".join(rows) + tail
    else:
        data, content_type = form_of(vector).whole(chunks_of(vector))
        assert content_type == vector["ct"]
    assert masked(data) == written(vector["json"]).replace("1e-07", "1e-7") + "\n"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelNotFoundError("m"), 404, "not_found_error"),
        (QueueFullError(), 503, "api_error"),
        (InvalidRequestError("x"), 400, "invalid_request_error"),
        (EngineError(501, "x"), 501, "api_error"),
    ],
)
def test_errors_of_the_service(error: Any, status: int, kind: str) -> None:
    """Status, type and words; C36 and C37."""
    got, body, content_type = service_error(error)
    assert (got, content_type, body[-1:]) == (status, "application/json", b"\n")
    assert json.loads(body) == {"error": {"message": str(error), "type": kind, "param": None, "code": None}}


def test_an_error_in_a_stream_is_told() -> None:
    """C35: the real server sends an empty chunk and ends; packages of OpenAI raise what has an `error` member."""
    form = form_of(VECTORS["C35"])
    assert b"He" in form.stream([Chunk("He")])
    frame = form.stream_error(EngineError(500, "boom"))
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    assert json.loads(frame[6:]) == {
        "error": {"message": "boom", "type": "api_error", "param": None, "code": None}
    }


def test_results_in_parts_keep_whose_they_are() -> None:
    """C11: the real server loses the id and the name."""
    request = read_chat(body_of(VECTORS["C11"]), MAX_DEPTH).request
    assert native_message(request.messages[1]) == {
        "role": "tool",
        "content": "ok",
        "tool_name": "f",
        "tool_call_id": "c1",
    }


def test_a_reply_without_an_end_is_ended() -> None:
    """One that repeats itself is stopped without a last chunk; clients wait for a reason and `[DONE]`."""
    for name, last in (("C30", '"delta":{},"finish_reason":"stop"'), ("C43", '"finish_reason":"stop"')):
        form = form_of(VECTORS[name])
        data = (form.stream([Chunk("x")]) + form.stream_end()).decode()
        assert last in data
        assert data.endswith("data: [DONE]\n\n")
