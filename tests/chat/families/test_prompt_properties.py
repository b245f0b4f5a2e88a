"""What holds for every renderer on any conversation: it answers or refuses cleanly, and it drops no text it shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.chat.families.known import find_renderer, renderer_names
from corral.chat.rendering.images import insert_image_tags
from corral.chat.rendering.jsontext import MAX_DEPTH
from corral.errors import InvalidRequestError, TemplateError
from corral.types import Message, Think, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty

_FRAGMENTS = [
    "<think>",
    "</think>",
    "<tool_response>",
    "</tool_response>",
    "<|channel>",
    "<channel|>",
    "<|tool_call_start|>",
    "/think",
    "/no_think",
    "/nothink",
    "[img]",
    "[img-0]",
    "\n",
    " ",
    "<b>",
    "{{",
    "x",
]
_text = st.lists(st.sampled_from(_FRAGMENTS) | st.text(max_size=4), max_size=5).map("".join)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(_text, children, max_size=3),
    max_leaves=8,
)
_arguments = st.dictionaries(_text, _values, max_size=3)
_calls = st.lists(st.builds(ToolCall, _text, _arguments, id=_text), max_size=2).map(tuple)
_roles = st.sampled_from(["system", "user", "assistant", "tool", "developer", "chatbot", ""])
_messages = st.lists(
    st.builds(
        Message,
        _roles,
        _text,
        thinking=_text,
        images=st.sampled_from([(), (b"i",)]),
        tool_calls=_calls,
        tool_name=_text,
        tool_call_id=_text,
    ),
    max_size=6,
)
_types = st.lists(st.sampled_from(["string", "array", "object", "null", "odd"]), max_size=2).map(tuple)
_schemas = st.recursive(
    st.builds(
        ToolProperty,
        types=_types,
        items=_values,
        description=_text,
        enum=st.lists(_values, max_size=2).map(tuple),
    ),
    lambda children: st.builds(
        ToolProperty,
        any_of=st.lists(children, max_size=2).map(tuple),
        types=_types,
        properties=st.none() | st.dictionaries(_text, children, max_size=2),
        required=st.lists(_text, max_size=1).map(tuple),
    ),
    max_leaves=4,
)
_parameters = st.builds(
    ToolParameters,
    st.sampled_from(["", "object"]),
    _values,
    _values,
    st.lists(_text, max_size=2).map(tuple),
    st.none() | st.dictionaries(_text, _schemas, max_size=2),
)
_tools = st.lists(
    st.builds(Tool, _text, _values, st.builds(ToolFunction, _text, _text, _parameters)), max_size=2
)
_thinks = st.sampled_from([None, True, False, "low", "medium", "high", "max"])


def _render(name: str, messages: list[Message], tools: list[Tool], think: Think) -> str:
    info = find_renderer(name)
    assert info is not None
    if info.has_image_tags:
        messages = insert_image_tags(messages, separator=True)
    return info.render(messages, tools, think)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(_messages, _tools, _thinks)
def test_answers_or_refuses(messages: list[Message], tools: list[Tool], think: Think) -> None:
    """Every renderer gives text or one of the two errors that a client is told about."""
    for name in renderer_names():
        try:
            prompt = _render(name, messages, tools, think)
        except (TemplateError, InvalidRequestError) as exc:
            assert str(exc)
        else:
            assert isinstance(prompt, str)


_words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
_chat_turns = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), _words, _words), max_size=6)


@settings(max_examples=100, deadline=None)
@given(_chat_turns, _words, _thinks)
def test_texts_are_shown_in_order(turns: list[tuple[str, str, str]], question: str, think: Think) -> None:
    """The texts of user and model stand in the prompt, one after the other."""
    messages = [Message(role, content, thinking=thinking) for role, content, thinking in turns]
    messages.append(Message("user", question))
    for name in renderer_names():
        prompt = _render(name, messages, [], think)
        position = 0
        for message in messages:
            found = prompt.find(message.content, position)
            assert found >= 0, (name, message)
            position = found + len(message.content)


_SHOWS_TOOLS = [name for name in renderer_names() if name not in {"olmo3-think", "olmo3-32b-think"}]


@settings(max_examples=60, deadline=None)
@given(_words, st.lists(st.tuples(_words, _words, _words), min_size=1, max_size=3), st.booleans())
def test_tool_round_trip_is_shown(
    question: str, calls: list[tuple[str, str, str]], has_question: bool
) -> None:
    """Names, arguments and results of calls stand in the prompt of every family that knows tools."""
    messages = [Message("user", question)]
    messages.append(
        Message(
            "assistant",
            tool_calls=tuple(ToolCall(n, {"key": v}, i, f"id{i}") for i, (n, v, _) in enumerate(calls)),
        )
    )
    messages += [Message("tool", r, tool_name=n, tool_call_id=f"id{i}") for i, (n, _, r) in enumerate(calls)]
    if has_question:
        messages.append(Message("user", "more"))
    for name in _SHOWS_TOOLS:
        prompt = _render(name, messages, [], None)
        assert all(part in prompt for call in calls for part in call), name


def _nested(depth: int, leaf: Any) -> Any:
    value = leaf
    for i in range(depth):
        value = [value] if i % 2 else {"k": value}
    return value


def _nested_property(depth: int) -> ToolProperty:
    prop = ToolProperty(types=("string",), items={"k": 1})
    for _ in range(depth):
        prop = ToolProperty(
            types=("object",), properties={"k": prop}, any_of=(ToolProperty(types=("null",)),)
        )
    return prop


def _tool(prop: ToolProperty) -> Tool:
    return Tool("function", None, ToolFunction("f", "", ToolParameters("object", properties={"p": prop})))


@pytest.mark.parametrize("name", _SHOWS_TOOLS)
def test_depth_within_the_limit(name: str) -> None:
    """Deep arguments and schemas are rendered, on a deep stack too."""
    call = ToolCall("f", {"a": _nested(MAX_DEPTH, "leaf")})
    messages = [
        Message("user", "Q"),
        Message("assistant", tool_calls=(call,)),
        Message("tool", "R"),
        Message("user", "R"),
    ]
    tools = [_tool(_nested_property(MAX_DEPTH // 2 - 1))]

    def descend(frames: int) -> str:
        return descend(frames - 1) if frames else _render(name, messages, tools, None)

    assert "leaf" in descend(200)


_HOSTILE = {
    "arguments": ([Message("assistant", tool_calls=(ToolCall("f", {"a": _nested(5000, 1)}),))], []),
    "properties": ([], [_tool(_nested_property(MAX_DEPTH))]),
    "items": ([], [_tool(ToolProperty(types=("array",), items=_nested(5000, 1)))]),
}


@pytest.mark.parametrize("name", _SHOWS_TOOLS)
@pytest.mark.parametrize("kind", _HOSTILE)
def test_depth_beyond_the_limit(name: str, kind: str) -> None:
    """What no honest client nests is refused with a text that says so."""
    messages, tools = _HOSTILE[kind]
    if name == "functiongemma" and kind != "arguments":
        assert _render(name, [Message("user", "Q"), *messages], tools, None)  # shows one level only
        return
    with pytest.raises(TemplateError, match="levels deep"):
        _render(name, [Message("user", "Q"), *messages, Message("user", "R")], tools, None)
