"""Large request bodies are parsed elsewhere, to the same values and errors, and within limits."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.api.anthropic.protocol import read_count, read_messages
from corral.api.http import bodies
from corral.api.http.bodies import MAX_VALUES, parse_body
from corral.api.native import protocol as native
from corral.api.native.rerank import read_rerank
from corral.api.openai import protocol as openai
from corral.api.reading import decode, jsonread
from corral.api.responses.protocol import read_responses
from corral.errors import InvalidRequestError

_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "d",
        "parameters": {
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": ["string", "null"], "enum": ["é", 1, 2.5]},
                "b": {"$ref": "#/$defs/x"},
            },
            "$defs": {"x": {"anyOf": [{"type": "integer"}]}},
        },
    },
}
_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, {"b": null}]}'}}
_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + os.urandom(99)).decode()
_URL = f"data:image/png;base64,{_PNG}"
_NATIVE = [
    {"role": "system", "content": "s\ud800"},
    {"role": "user", "content": "hi", "images": [_PNG]},
    {
        "role": "assistant",
        "thinking": "t",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1]}}}],
    },
    {"role": "tool", "content": "r", "tool_name": "f"},
]
_SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}}
_PARTS = [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": _URL}}]
_CASES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "generate": (
        native.read_generate,
        {"prompt": "x", "images": [_PNG], "context": [1, 2], "format": _SCHEMA, "options": {"seed": 1}},
    ),
    "chat": (native.read_chat, {"messages": _NATIVE, "tools": [_TOOL], "think": "high", "keep_alive": "5m"}),
    "embed": (native.read_embed, {"input": ["a", "b"], "dimensions": 3}),
    "embeddings": (native.read_embeddings, {"prompt": "a"}),
    "v1 chat": (
        openai.read_chat,
        {
            "messages": [
                {"role": "user", "content": _PARTS},
                {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "r"},
            ],
            "tools": [_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA}},
            "logit_bias": {"5": -1},
            "stop": "s",
        },
    ),
    "v1 completions": (openai.read_completion, {"prompt": ["a", "b"], "n": 2}),
    "v1 embeddings": (openai.read_embeddings, {"input": [[1, 2], [3]]}),
    "v1 messages": (
        read_messages,
        {
            "max_tokens": 5,
            "system": [{"type": "text", "text": "s"}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "x"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
                    ],
                },
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
            ],
            "tools": [{"name": "f", "input_schema": _SCHEMA}],
        },
    ),
    "v1 count": (read_count, {"messages": [{"role": "user", "content": "x"}]}),
    "v1 responses": (
        read_responses,
        {
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": _URL}],
                },
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
                {"type": "function_call_output", "call_id": "c", "output": "r"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": _SCHEMA}],
        },
    ),
    "rerank": (read_rerank, {"query": "q", "documents": ["a", {"text": "b"}]}),
}  # fmt: skip
_FIELDS: dict[str, dict[str, decode.Decode]] = {
    "show": native.SHOW,
    "copy": native.COPY,
    "transfer": native.TRANSFER,
    "create": native.CREATE,
    "local blob": native.LOCAL_BLOB,
    "tokenize": native.TOKENIZE,
    "detokenize": native.DETOKENIZE,
}


def _large(request: dict[str, Any]) -> bytes:
    """The request with a member that no surface knows, of more values than the loop or a thread takes."""
    return json.dumps({"model": "m", "padding": [[]] * 30_000, **request}).encode()


def _in_a_worker(body: bytes, parse: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return asyncio.run(parse_body(body, parse, *args, **kwargs))


def _made_of(value: Any) -> Any:
    """What a value is made of. Not everything that a parser makes compares by value.

    The text of a set does not do for that: its order depends on the hash seed, and a worker has another one.
    """
    if dataclasses.is_dataclass(value):
        return type(value), {
            field.name: _made_of(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: _made_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [_made_of(item) for item in value]
    return value


@pytest.mark.process
@pytest.mark.parametrize(("parse", "request_"), _CASES.values(), ids=_CASES.keys())
def test_a_worker_parses_to_the_same_values(parse: Callable[..., Any], request_: dict[str, Any]) -> None:
    body = _large(request_)
    assert _made_of(_in_a_worker(body, parse, 500)) == _made_of(parse(body, 500))


@pytest.mark.process
@pytest.mark.parametrize("fields", _FIELDS.values(), ids=_FIELDS.keys())
def test_every_table_of_fields_reaches_a_worker(fields: dict[str, decode.Decode]) -> None:
    body = _large({"verbose": True, "stream": False, "tokens": [1], "source": "s"})
    values = _in_a_worker(body, decode.decode_request, "S", fields, max_depth=500)
    assert values == decode.decode_request(body, "S", fields, max_depth=500)


@pytest.mark.process
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (_large({"prompt": 5}), "json: cannot unmarshal number into Go struct field GenerateRequest.prompt of"),
        (_large({"think": 5}), "think must be a boolean"),
        (_large({})[:-5], "unexpected EOF"),
        (b"[" * 100_000, "json: exceeded max depth"),
        (b'{"a":' * 100_000, "json: exceeded max depth"),
        (b'{"a":[' + b"[]," * MAX_VALUES + b"1]}", f"more than {MAX_VALUES} JSON values"),
    ],
)  # fmt: skip
def test_errors_are_the_same_and_of_the_same_class(body: bytes, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=text) as caught:
        _in_a_worker(body, native.read_generate, 500)
    assert type(caught.value) is InvalidRequestError


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"prompt":"' + b"a" * 100_000 + b'"}', "loop"),
        (b'{"a":[' + b"1," * 1500 + b"1]}", "loop"),
        (b'{"a":[' + b"1," * 10_000 + b"1]}", "thread"),
        (b'{"a":"' + b"A" * (2 << 20) + b'"}', "thread"),
        (b'{"a":[' + b"1," * 40_000 + b"1]}", "worker"),
        (b'{"a":"' + b"A" * (9 << 20) + b'"}', "worker"),
    ],
)
def test_where_a_body_is_parsed_depends_on_what_it_may_cost(
    body: bytes, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def run_job(*_args: Any, **_options: Any) -> None:
        asked.append("worker")

    def parse(_body: bytes) -> None:
        asked.append("loop" if threading.current_thread() is threading.main_thread() else "thread")

    monkeypatch.setattr(bodies, "run_job", run_job)
    _in_a_worker(body, parse)
    assert asked == [where]


@pytest.mark.process
def test_time_and_memory_of_parsing_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_CPU_S", 0.05)
    with pytest.raises(InvalidRequestError, match="the request body takes too long"):
        _in_a_worker(b'{"a":[' + b'{"a":1},' * 100_000 + b"1]}", native.read_generate, 500)
    monkeypatch.setattr(bodies, "_CPU_S", 60.0)
    monkeypatch.setattr(bodies, "_MEMORY_BYTES", 2 << 20)
    with pytest.raises(InvalidRequestError, match="the request body needs too much memory"):
        _in_a_worker(b'{"a":[' + b"[]," * 140_000 + b"1]}", native.read_generate, 500)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}",\\a', max_size=3), inner, max_size=4)
    ),
    max_leaves=30,
)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _count(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, inner))


@given(_JSON)
def test_depth_and_number_of_values_are_counted_outside_of_strings(value: Any) -> None:
    for is_ascii in (True, False):
        body = json.dumps(value, ensure_ascii=is_ascii).encode()
        depth = _depth(value)
        jsonread.check_depth(body, depth)
        if depth:
            with pytest.raises(InvalidRequestError):
                jsonread.check_depth(body, depth - 1)
        assert _count(value) <= jsonread.count_values(body) <= 2 * _count(value) + 1


@given(st.binary(max_size=200) | st.text('[]{}",\\:a').map(str.encode))
def test_any_bytes_are_counted(body: bytes) -> None:
    jsonread.check_depth(body, 1000)
    assert jsonread.count_values(body) >= 1
