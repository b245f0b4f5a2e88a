"""Replies with a bound answer: where the thinking ends, and that nothing in the answer is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.families.known import find_parser
from corral.chat.parsing.answers import AnswerForm, AnswerReader, begins
from corral.chat.parsing.events import OutputParser
from corral.chat.parsing.thinking import ThinkingParser
from corral.types import Message, Think, Tool, ToolFunction, ToolParameters

THINK = ("<think>", "</think>")
COHERE = ("<|START_THINKING|>", "<|END_THINKING|>")
STARTS = ("<|START_TEXT|>", "<|START_RESPONSE|>")
TOOLS = (Tool("function", None, ToolFunction("get", "", ToolParameters("object", properties={}))),)


def reader_of(parser: str, think: Think = True, tools: Sequence[Tool] = ()) -> OutputParser:
    found = find_parser(parser)
    assert found is not None
    return found.create(tools, None, think)


def read(reader: AnswerReader, parts: Sequence[str]) -> tuple[str, str, list[str]]:
    """Thinking, content, and the names of calls."""
    found = [*(reader.feed(part) for part in parts), reader.finish()]
    return (
        "".join(part.thinking for part in found),
        "".join(part.content for part in found),
        [call.name for part in found for call in part.tool_calls],
    )


def qwen(tools: Sequence[Tool] = ()) -> AnswerReader:
    calls = ("<tool_call>",) if tools else None
    return AnswerReader(reader_of("qwen3.5", tools=tools), AnswerForm("begun", THINK, 2, (), calls))


def tagged(begin: Literal["may", "begun"] = "may", *, gap: int = 2) -> AnswerReader:
    parser = ThinkingParser(*THINK, started=begin == "begun")
    return AnswerReader(parser, AnswerForm(begin, THINK, gap))


CALL = '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>'
CASES: list[tuple[Callable[[], AnswerReader], str, tuple[str, str, list[str]]]] = [
    (lambda: qwen(), 'a b\n</think>\n\n{"x": 1}', ("a b", '{"x": 1}', [])),
    (lambda: qwen(), f'a</think>"{CALL}"', ("a", f'"{CALL}"', [])),  # a string that tells of a call
    (lambda: qwen(TOOLS), f"a</think>\n\n{CALL}", ("a", "", ["get"])),
    (lambda: qwen(TOOLS), f'a</think>\n\n"{CALL}"', ("a", f'"{CALL}"', [])),
    (lambda: qwen(TOOLS), "a</think>\n<tool", ("a", "<tool", [])),
    (lambda: qwen(), "a</thi", ("a</thi", "", [])),
    (lambda: qwen(), "a</think>\n", ("a", "", [])),
    (lambda: tagged(), "<think>a</think>{}", ("a", "{}", [])),
    (lambda: tagged(), "\n<think>\na</think>\n{}", ("a", "{}", [])),
    (lambda: tagged(), "{}<think>a</think>", ("", "{}<think>a</think>", [])),
    (lambda: tagged(), "\n\n yes", ("", "\n\n yes", [])),
    (lambda: tagged(), "<thin", ("", "<thin", [])),
    (lambda: tagged(gap=0), "<think>a</think>\n1\n", ("a", "\n1\n", [])),
    (lambda: tagged("begun"), "a</think>\n\n\n1", ("a", "\n1", [])),
    (lambda: tagged("begun"), "</think></think>", ("", "</think>", [])),
    (
        lambda: AnswerReader(reader_of("cohere"), AnswerForm("begun", COHERE, 2, STARTS)),
        "a<|END_THINKING|><|START_TEXT|>[1]",
        ("a", "[1]", []),
    ),
    (
        lambda: AnswerReader(reader_of("cohere"), AnswerForm("begun", COHERE, 2, STARTS)),
        "a<|END_THINKING|><|START_",
        ("a", "", []),
    ),
]


@pytest.mark.parametrize(("new", "text", "expected"), CASES, ids=[case[1] for case in CASES])
def test_a_reply(new: Callable[[], AnswerReader], text: str, expected: tuple[str, str, list[str]]) -> None:
    """Whole, and letter by letter."""
    assert read(new(), [text]) == expected
    assert read(new(), list(text)) == expected


PARTS = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<",
            "</th",
            "ink>",
            "\n",
            " ",
            "a",
            "{",
            '"',
            "}",
            "<tool_call>",
            "</tool_call>",
        ]
    ),
    max_size=12,
)


@given(PARTS, st.data())
def test_the_cut_does_not_matter(parts: list[str], data: st.DataObject) -> None:
    """However a reply is cut, it is read the same."""
    text = "".join(parts)
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    cut = [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]
    new: Callable[[], AnswerReader]
    for new in (qwen, tagged, lambda: qwen(TOOLS), lambda: tagged("begun")):
        assert read(new(), cut) == read(new(), [text])


@given(PARTS, PARTS)
def test_the_answer_is_what_follows_the_tag(thought: list[str], answer: list[str]) -> None:
    """To the last letter, whatever it is."""
    thinking = "".join(thought).replace("</think>", "").replace("<tool_call>", "")
    text = "x" + "".join(answer)
    reader = qwen()
    assert read(reader, [*thinking, "</think>\n\n", *text])[1:] == (text, [])
    assert reader.has_begun


def test_what_has_come() -> None:
    """Whether it thinks, and whether the answer has begun, piece by piece."""
    reader = tagged()
    states = []
    for part in ("<th", "ink>a", "</think>", "\n", "\n", "1"):
        reader.feed(part)
        states.append((reader.is_thinking, reader.has_begun))
    assert states == [
        (False, False),
        (True, False),
        (False, False),
        (False, False),
        (False, False),
        (False, True),
    ]


USER, BEGUN, RESULT = Message("user", "q"), Message("assistant", "x"), Message("tool", "x")
# How a reply begins after a question, after its own beginning, and after the result of a tool.
BEGINNINGS = {
    "qwen3": ("", "", ""),
    "qwen3-thinking": ("begun", "begun", "begun"),
    "qwen3.5": ("begun", "", "begun"),
    "qwen3-vl-instruct": ("", "", ""),
    "qwen3-vl-thinking": ("begun", "", "begun"),
    "nemotron-3-nano": ("begun", "", "begun"),
    "glm-4.7": ("begun", "begun", "begun"),
    "laguna": ("begun", "may", "begun"),
    "deepseek3": ("begun", "", "begun"),
    "cohere": ("begun", "", "begun"),
    "lfm2-thinking": ("may", "", "may"),
    "gemma4": ("may", "may", "begun"),
    "ministral": ("may", "may", "may"),
    "harmony": (None, "", None),
    "glimmer": (None, None, None),
    "passthrough": ("", "", ""),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_how_a_reply_begins(name: str) -> None:
    """A header after the thinking, as those of channels have, is not where an answer begins."""
    parser = find_parser(name)
    assert parser is not None
    tags = THINK if parser.calls is None else parser.calls.thinking
    assert tags is not None
    found = tuple(
        begins(lambda last=last: parser.create((), last, True), tags)  # type: ignore[misc]
        for last in (USER, BEGUN, RESULT)
    )
    assert found == BEGINNINGS[name]
