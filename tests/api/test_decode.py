"""Reading request JSON as Go does: order, duplicates, letter case, and which error comes first."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.api.native.protocol import read_chat, read_embed, read_generate
from corral.api.reading import decode
from corral.api.reading.jsonread import plain, read_members
from corral.errors import InvalidRequestError
from corral.types import ToolCall

DEPTH = 100


def error_of(reader: Any, body: str | bytes) -> str:
    data = body.encode() if isinstance(body, str) else body
    with pytest.raises(InvalidRequestError) as refused:
        reader(data, DEPTH)
    return str(refused.value)


@pytest.mark.parametrize("body", ["", " ", "\n\r\n\t"])
def test_missing_body(body: str) -> None:
    """Nothing at all has an error of its own."""
    assert error_of(read_generate, body) == "missing request body"


@pytest.mark.parametrize(
    "body",
    ["{", "x", '{"mod', '{"model":"v', '{"model"}', '{"model":}', '{"model":"v",}', "{'model':1}", "{model:1}",
     '{"a":1,,"b":2}', '{"model":"v\n"}', '{"model":"\\x41"}', '{"o":NaN}', '{"o":01}', '{"o":+1}', '{"o":.5}',
     '{"o":True}', '{"o":nul}', '\ufeff{"model":"v"}', '{"o":1e400}', "[" * 200],
)  # fmt: skip
def test_broken_json(body: str) -> None:
    """Every break is a refusal that says something."""
    assert error_of(read_generate, body)


@pytest.mark.parametrize(
    ("body", "kind"), [("[]", "array"), ('"x"', "string"), ("5", "number"), ("true", "bool")]
)
def test_other_values(body: str, kind: str) -> None:
    """The top must be an object; null is an empty one."""
    text = f"json: cannot unmarshal {kind} into Go value of type api.GenerateRequest"
    assert error_of(read_generate, body) == text
    assert read_generate(b"null", DEPTH)[0].common.model == ""


def test_names_in_any_case_and_duplicates() -> None:
    """The last duplicate counts, maps merge, null after a value keeps a scalar and resets a switch."""
    body = (
        '{"MODEL":"a","Model":"b","stream":false,"stream":null,"options":{"x":1},"options":{"y":2},'
        '"model":null,"\u017fuffix":"s"} junk'
    )
    request, is_stream = read_generate(body.encode(), DEPTH)
    assert (request.common.model, is_stream, request.suffix) == ("b", True, "s")
    assert request.common.options == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"model":1,"prompt":2}', "number into Go struct field GenerateRequest.model of type string"),
        ('{"prompt":2,"model":1}', "number into Go struct field GenerateRequest.prompt of type string"),
        (
            '{"model":1,"think":"on"}',
            'invalid think value: "on" (must be "high", "medium", "low", "max", true, or',
        ),
        ('{"think":1,"keep_alive":true}', "think must be a boolean or string"),
        ('{"model":1,"keep_alive":"x"}', 'time: invalid duration "x"'),
        ('{"images":["%%"],"model":1}', "illegal base64 data at input byte 0"),
        ('{"top_logprobs":1.5}', "number 1.5 into Go struct field GenerateRequest.top_logprobs of type int"),
        (
            '{"options":[]}',
            "array into Go struct field GenerateRequest.options of type map[string]interface {}",
        ),
    ],
)
def test_which_error_comes_first(body: str, text: str) -> None:
    """A field with a decoder of its own beats plain type errors; those come in document order."""
    assert text in error_of(read_generate, body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"messages":["x"]}', "string into Go struct field ChatRequest.messages of type api.Alias"),
        (
            '{"messages":[{"content":[]}]}',
            "array into Go struct field ChatRequest.messages.content of type string",
        ),
        ('{"model":1,"messages":[{"content":5}]}', "ChatRequest.messages.content of type string"),
        (
            '{"tools":[{"function":{"description":5}}]}',
            "ToolFunction.tools.function.description of type string",
        ),
    ],
)
def test_messages_and_tools(body: str, text: str) -> None:
    """Errors inside messages end the decoding at once; those of tools name the innermost struct."""
    assert text in error_of(read_chat, body)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ({"a": 1}, {"a": 1}),
        (None, {}),
        ("", {}),
        ("{}", {}),
        ('{"city":"Paris"}', {"city": "Paris"}),
        ('{"city": "Par', {"arguments": '{"city": "Par'}),
        ('{"a":1}{"b":2}', {"arguments": '{"a":1}{"b":2}'}),
        ("Paris", {"arguments": "Paris"}),
        (["a"], {"arguments": ["a"]}),
        (5, {"arguments": 5}),
    ],
)
def test_arguments_of_earlier_calls(arguments: Any, meant: Any) -> None:
    """What a model once wrote does not stop the conversation."""
    call = {"function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    request, _ = read_chat(json.dumps({"model": "m", "messages": [message]}).encode(), DEPTH)
    assert request.messages[0].tool_calls[0].arguments == meant


def test_a_conversation() -> None:
    """Roles are lower-cased, arguments keep their order, unknown schema keys are dropped."""
    body = {
        "model": "m",
        "messages": [
            {"role": "USER", "content": "hi", "images": ["AAE="]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"b": 1, "a": 2}}}]},
            None,
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "b": {"type": ["string", "null"], "format": "date"},
                            "a": {"enum": [1]},
                        },
                    },
                },
            }
        ],
    }
    request, _ = read_chat(json.dumps(body).encode(), DEPTH)
    user, assistant, empty = request.messages
    assert (user.role, user.images) == ("user", (b"\x00\x01",))
    assert assistant.tool_calls == (ToolCall("f", {"b": 1, "a": 2}),)
    assert list(assistant.tool_calls[0].arguments) == ["b", "a"]
    assert empty.role == ""
    properties = request.tools[0].function.parameters.properties
    assert properties is not None
    assert list(properties) == ["b", "a"]
    assert properties["b"].types == ("string", "null")


@pytest.mark.parametrize(("given", "inputs"), [("x", ("x",)), ([""], ("",)), ([], ()), ("", ()), (None, ())])
def test_embed_inputs(given: object, inputs: tuple[str, ...]) -> None:
    """A text, a list, or nothing."""
    assert read_embed(json.dumps({"model": "m", "input": given}).encode(), DEPTH).inputs == inputs
    assert read_embed(json.dumps({"model": "m", "input": given}).encode(), DEPTH).is_readable


@pytest.mark.parametrize("given", [5, {}, [5], ["a", None]])
def test_bad_embed_inputs(given: object) -> None:
    """Anything else is read as nothing, and refused once the name was looked at."""
    request = read_embed(json.dumps({"input": given}).encode(), DEPTH)
    assert (request.inputs, request.is_readable) == ((), False)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_reads_what_others_write(value: dict[str, Any]) -> None:
    """The members of any object, and their texts, come back."""
    members = read_members(json.dumps(value).encode(), "X", max_depth=DEPTH)
    assert {name: plain(member) for name, member, _ in members} == value
    assert {name: json.loads(text) for name, _, text in members} == value


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_never_crash(data: bytes) -> None:
    """Foreign bytes are read or refused."""
    try:
        read_chat(data, DEPTH)
    except InvalidRequestError as error:
        assert re.search(r"\S", str(error))


def test_pictures_as_data_urls() -> None:
    """A picture is the same with and without the head of a data URL; what is no picture is no base64 either."""
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n and more").decode()
    for text in (picture, f"data:image/png;base64,{picture}", f"DATA:image/x-icon;base64,{picture}"):
        body = json.dumps({"model": "m", "prompt": "x", "images": [text]}).encode()
        assert read_generate(body, DEPTH)[0].images == (b"\x89PNG\r\n\x1a\n and more",)
    for text in (
        "data:image/png;base64,AAAA",
        f"data:text/html;base64,{picture}",
        f"data:image/png,{picture}",
    ):
        body = json.dumps({"model": "m", "prompt": "x", "images": [text]}).encode()
        with pytest.raises(InvalidRequestError, match="illegal base64 data at input byte 4"):
            read_generate(body, DEPTH)


def test_base64() -> None:
    """Line breaks are skipped, padding is needed, a data URL is no base64."""
    assert decode.decode_base64("AA\r\nE=") == b"\x00\x01"
    for text in ("data:image/png;base64,AAAA", "AAE", "A=A="):
        with pytest.raises(InvalidRequestError, match="illegal base64 data at input byte"):
            decode.decode_base64(text)
