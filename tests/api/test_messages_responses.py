"""Recorded requests and answers of `/v1/messages` and `/v1/responses`, on the conversions alone: no server, no model.

Each vector has a request with the native request it stands for, or its error; or the chunks that a model gave with
the answer that the real server made of them.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.api.anthropic import convert as messages_convert
from corral.api.anthropic import protocol as messages_protocol
from corral.api.anthropic.encode import MessageWriter
from corral.api.http.answering import AnswerWriter
from corral.api.responses import convert as responses_convert
from corral.api.responses import protocol as responses_protocol
from corral.api.responses.encode import ResponseWriter
from corral.errors import CorralError, InvalidRequestError
from corral.inference.requests import ChatRequest
from corral.types import Chunk, GenerationMetrics, ToolCall

_LINES = (Path(__file__).parent / "messages_responses_vectors.jsonl").read_text().splitlines()
VECTORS = {vector["id"]: vector for vector in map(json.loads, _LINES)}
# Vectors whose recorded answer is a fault that is mended; a test below shows what is right. See docs/differences.md.
MENDED = {"C54", "C58", "C59", "C60", "C62", "C63", "C76", "C77", "C80"}
MAX_DEPTH = 100
_IDS = (
    (re.compile(r"\b(rs|fc)_(resp_)?\d+"), r"\1_N"),
    (re.compile(r"\b(rs_resp_R|rs_S)\b"), "rs_N"),
    (re.compile(r"\bfc_(resp_R|F)_"), "fc_N_"),
    (re.compile(r"\bmsg_([0-9a-f]{24}|\d+|M|H)\b"), "msg_N"),
    (re.compile(r"\bresp_(\d+|R)\b"), "resp_N"),
    (re.compile(r"\breq_([0-9a-f]{24}|H)\b"), "req_N"),
)


def read(vector: dict[str, Any]) -> ChatRequest:
    body = json.dumps(vector["body"]).encode()
    if vector["ep"] == "msg":
        return messages_convert.chat_request(messages_protocol.read_messages(body, MAX_DEPTH))
    return responses_convert.chat_request(responses_protocol.read_responses(body, MAX_DEPTH), [])


def native(request: ChatRequest, *, is_stream: bool) -> dict[str, Any]:
    """The native request in the form of the vectors."""
    common = request.common
    value: dict[str, Any] = {"model": common.model, "messages": [], "stream": is_stream}
    for message in request.messages:
        entry: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.thinking:
            entry["thinking"] = message.thinking
        if message.images:
            entry["images"] = [base64.b64encode(image).decode() for image in message.images]
        if message.tool_calls:
            entry["tool_calls"] = [
                {"id": c.id, "function": {"index": c.index, "name": c.name, "arguments": c.arguments}}
                for c in message.tool_calls
            ]
        if message.tool_call_id:
            entry["tool_call_id"] = message.tool_call_id
        value["messages"].append(entry)
    if common.format:
        value["format"] = json.loads(common.format)
    if request.tools:
        value["tools"] = [tool_object(dataclasses.asdict(tool)) for tool in request.tools]
    value["options"] = {name: option for name, option in (common.options or {}).items() if option is not None}
    if common.think is not None:
        value["think"] = common.think
    return value


def tool_object(tool: dict[str, Any]) -> dict[str, Any]:
    function = {name: member for name, member in tool["function"].items() if member}
    parameters = function["parameters"]
    properties = parameters["properties"]
    function["parameters"] = {"type": parameters["type"], "properties": properties}
    if properties is not None:
        function["parameters"]["properties"] = {n: {"type": p["types"][0]} for n, p in properties.items()}
    return {"type": tool["type"], "function": function}


def ids(value: Any) -> Any:
    text = json.dumps(value)
    for pattern, replacement in _IDS:
        text = pattern.sub(replacement, text)
    return json.loads(text)


@pytest.mark.parametrize("name", [name for name, vector in VECTORS.items() if "native" in vector])
def test_request(name: str) -> None:
    """The native request that a body stands for."""
    vector = VECTORS[name]
    assert native(read(vector), is_stream=vector["body"].get("stream", False)) == vector["native"]


@pytest.mark.parametrize(
    "name", [n for n, vector in VECTORS.items() if "error" in vector and n not in MENDED]
)
def test_refused(name: str) -> None:
    """The text of an error."""
    with pytest.raises(InvalidRequestError) as caught:
        read(VECTORS[name])
    wanted = VECTORS[name]["error"]
    if "invalid character" in wanted:  # syntax errors are told in words of our own
        assert "invalid character" in str(caught.value)
    else:
        assert str(caught.value) == wanted


def chunks_of(vector: dict[str, Any]) -> list[Chunk]:
    chunks = []
    for piece in vector["chunks"]:
        calls = tuple(
            ToolCall(name, arguments, id=call_id) for call_id, name, arguments in piece.get("k", ())
        )
        metrics = GenerationMetrics(prompt_eval_count=piece.get("pe", 0), eval_count=piece.get("ec", 0))
        chunks.append(
            Chunk(
                piece.get("c", ""),
                piece.get("t", ""),
                calls,
                done="done" in piece,
                done_reason=piece.get("done", ""),
                metrics=metrics if "done" in piece else None,
            )
        )
    return chunks


def form_of(vector: dict[str, Any]) -> AnswerWriter:
    body = json.dumps(vector["body"]).encode()
    if vector["ep"] == "resp":
        return ResponseWriter(responses_protocol.read_responses(body, MAX_DEPTH), is_stored=False)
    request = messages_protocol.read_messages(body, MAX_DEPTH)
    estimate = messages_convert.estimate_tokens(request)
    return MessageWriter(request.model, estimate=estimate, keeps_calls=True, has_search=False)


def run(vector: dict[str, Any]) -> bytes:
    """The answer's bytes for the chunks of a vector, in batches of one."""
    form, chunks = form_of(vector), chunks_of(vector)
    if isinstance(form, ResponseWriter):
        for chunk in chunks:
            form.feed([chunk])
    if not vector["body"].get("stream"):
        return form.whole(chunks)[0]
    return b"".join([form.stream([chunk]) for chunk in chunks]) + form.stream_end()


def events(data: bytes) -> list[dict[str, Any]]:
    found = []
    for frame in data.decode().split("\n\n")[:-1]:
        name, _, payload = frame.partition("\n")
        event = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def reduced(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for event in found:
        if "response" in event:
            event["response"] = {name: event["response"][name] for name in ("status", "output", "usage")}
    return found


@pytest.mark.parametrize(
    "name",
    [n for n, v in VECTORS.items() if "sse" in v and n not in MENDED],
)
def test_streamed_answer(name: str) -> None:
    """The run of events, with all their members."""
    vector = VECTORS[name]
    assert ids(reduced(events(run(vector)))) == ids(vector["sse"])


@pytest.mark.parametrize(
    "name", [n for n, v in VECTORS.items() if v.get("status") == 200 and "json" in v and n not in MENDED]
)
def test_whole_answer(name: str) -> None:
    """One object; of a response the members that the vector has."""
    vector = VECTORS[name]
    data = run(vector)
    assert data.endswith(b"}\n")
    answer = json.loads(data)
    if vector["ep"] == "resp":
        answer = {member: answer[member] for member in vector["json"]}
    assert ids(answer) == ids(vector["json"])
    assert list(answer) == list(vector["json"])


def test_text_before_a_call_is_kept() -> None:
    """Its item is closed before the call's is opened; whole and streamed agree."""
    whole = json.loads(run(VECTORS["C60"]))
    assert [item["type"] for item in whole["output"]] == ["message", "function_call"]
    assert whole["output"][0]["content"][0]["text"] == "ans"
    found = events(run(VECTORS["C63"]))
    steps = [
        (event["type"].removeprefix("response."), event["output_index"])
        for event in found
        if event["type"] in ("response.output_item.added", "response.output_item.done")
    ]
    assert steps == [
        ("output_item.added", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("output_item.done", 1),
    ]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert output == [event["item"] for event in found if event["type"] == "response.output_item.done"]


def test_an_error_ends_a_stream_with_an_event() -> None:
    """Anthropic's `error`, OpenAI's `response.failed`."""
    messages = form_of(VECTORS["C80"])
    messages.stream([Chunk("c")])
    (event,) = events(messages.stream_error(CorralError("boom")))
    assert event["error"] == {"type": "api_error", "message": "boom"}
    responses = form_of(VECTORS["C61"])
    assert isinstance(responses, ResponseWriter)
    responses.feed([Chunk("c")])
    sent = events(responses.stream([]))
    (event,) = events(responses.stream_error(CorralError("boom")))
    assert event["type"] == "response.failed"
    assert event["sequence_number"] == len(sent)
    assert event["response"]["error"] == {"code": "server_error", "message": "boom"}


def test_thinking_after_text_is_kept() -> None:
    """It opens a block of its own."""
    form = form_of(VECTORS["C79"])
    data = form.stream([Chunk(thinking="a"), Chunk("b"), Chunk(thinking="c"), Chunk("d", done=True)])
    found = events(data)
    starts = [e["content_block"]["type"] for e in found if e["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "thinking", "text"]
    assert [e["index"] for e in found if e["type"] == "content_block_stop"] == [0, 1, 2, 3]


def test_a_reply_without_an_end_is_ended() -> None:
    """When generation was broken off because it repeated itself, the client still gets a whole run of events."""
    form = form_of(VECTORS["C78"])
    found = events(form.stream([Chunk("a")]) + form.stream_end())
    assert [e["type"] for e in found][-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_nothing_follows_a_search() -> None:
    """Text behind the call of the server's own search is not part of the answer."""
    form = MessageWriter("m", estimate=1, keeps_calls=True, has_search=True)
    search = Chunk(tool_calls=(ToolCall("web_search", {"query": "sky"}, id="c"),))
    found = events(form.stream([Chunk("a"), search, Chunk("b"), Chunk(done=True, done_reason="stop")]))
    texts = [e["delta"]["text"] for e in found if e["type"] == "content_block_delta"]
    assert texts == ["a"]
    kinds = [e["content_block"]["type"] for e in found if e["type"] == "content_block_start"]
    assert kinds == ["text", "server_tool_use", "web_search_tool_result"]


def test_percent_signs_in_deltas() -> None:
    """Heads and tails are made by formatting; texts must not be."""
    for name in ("C61", "C78"):
        form = form_of(VECTORS[name])
        if isinstance(form, ResponseWriter):
            form.feed([Chunk("100 %d %s")])
        deltas = [e["delta"] for e in events(form.stream([Chunk("100 %d %s")])) if "delta" in e]
        assert deltas in (["100 %d %s"], [{"type": "text_delta", "text": "100 %d %s"}])


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (
            {"type": "document", "title": "T", "source": {"type": "text", "data": "body"}},
            "T\n\nbody\n\n",
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
            "x\n\n",
        ),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "s",
                "content": [{"type": "text", "text": "x"}],
            },
            "T\ns\nx\n\n",
        ),
    ],
)
def test_documents_are_text(block: dict[str, Any], shown: str) -> None:
    """In a message and in a tool's result."""
    for content in ([block], [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]):
        body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
        (message,) = read({"ep": "msg", "body": body}).messages
        assert message.content == shown


def test_the_accounting_line_of_claude_code() -> None:
    """It differs in every request and would make the prompt cache useless."""
    line = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=12345;"
    for system in (
        [{"type": "text", "text": line}, {"type": "text", "text": "Be kind."}],
        f"{line}\nBe kind.",
    ):
        body = {
            "model": "m",
            "max_tokens": 1,
            "system": system,
            "messages": [{"role": "user", "content": "x"}],
        }
        assert read({"ep": "msg", "body": body}).messages[0].content == "Be kind."


@pytest.mark.parametrize("ep", ["msg", "resp"])
def test_native_options(ep: str) -> None:
    """A member with an option's name wins over `options`; the surface's own names win over both."""
    extra = {
        "num_ctx": 99,
        "min_p": 0.1,
        "options": {"num_ctx": 1, "seed": 4},
        "stop": "X",
        "keep_alive": "2m",
    }
    body: dict[str, Any] = {"model": "m", "temperature": 0.5, **extra}
    body |= (
        {"input": "x"} if ep == "resp" else {"max_tokens": 7, "messages": [{"role": "user", "content": "x"}]}
    )
    request = read({"ep": ep, "body": body})
    assert request.common.keep_alive_ns == 120 * 10**9
    wanted = {"num_ctx": 99, "min_p": 0.1, "seed": 4, "stop": ["X"], "temperature": 0.5}
    assert (request.common.options or {}) == wanted | ({"num_predict": 7} if ep == "msg" else {})


# What a hostile or careless client may put where something else belongs.
_STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just([None, 1, "x"]),
    st.just({"type": "text"}),
    st.just({"type": [], "name": {}}),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path] * bool(path) + [place for key, member in members for place in _places(member, (*path, key))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], new)
    return copy


_WHOLE_BODIES: dict[str, Any] = {
    "msg": {
        **VECTORS["C64"]["body"],
        "messages": [
            *VECTORS["C67"]["body"]["messages"],
            {
                "role": "user",
                "content": [
                    {"type": "document", "title": "t", "source": {"type": "text", "data": "d"}},
                    {
                        "type": "search_result",
                        "title": "t",
                        "source": "s",
                        "content": [{"type": "text", "text": "x"}],
                    },
                    {
                        "type": "web_search_tool_result",
                        "tool_use_id": "u",
                        "content": [{"title": "t", "url": "u"}],
                    },
                ],
            },
        ],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "tool_choice": {"type": "tool", "name": "f"},
        "options": {"seed": 1},
    },
    "resp": {
        **VECTORS["C51"]["body"],
        "input": [*VECTORS["C51"]["body"]["input"], *VECTORS["C52"]["body"]["input"]],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "f"}],
        },
        "metadata": {"a": "b"},
        "include": ["message.output_text.logprobs"],
        "options": {"seed": 1},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("ep", ["msg", "resp"])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_strange_bodies(ep: str, data: st.DataObject) -> None:
    """A body with something out of place is served or refused in words; and what is echoed can be encoded."""
    body = _WHOLE_BODIES[ep]
    for _ in range(data.draw(st.integers(1, 3), label="how many")):
        place = data.draw(st.sampled_from(_places(body)), label="where")
        body = _replaced(body, place, data.draw(_STRANGE, label="what"))
    vector = {"ep": ep, "body": body, "chunks": VECTORS["C61"]["chunks"]}
    try:
        read(vector)
        answer = run(vector)
    except InvalidRequestError as error:
        assert str(error)
    else:
        assert answer


def test_the_whole_bodies_are_served() -> None:
    """Else the test above would show nothing."""
    for ep, body in _WHOLE_BODIES.items():
        assert [tool.function.name for tool in read({"ep": ep, "body": body}).tools] == ["f"]
