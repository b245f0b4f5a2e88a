"""Properties of every parser: the cut does not matter, no text is lost, nothing is held back for ever."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.chat.families.known import find_parser
from corral.chat.parsing.events import MAX_HELD_CHARS
from corral.types import Message, Think, Tool
from tests.chat.parsing.cases import PARSERS, TOOLS, join, make_parser, run
from tests.chat.parsing.odd_forms import envelope, readers

_CALLS = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "P"}}\n</tool_call>',
    "<tool_call><function=get_weather><parameter=city>P</parameter></function></tool_call>",
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>P</arg_value>\n</tool_call>",
    '[TOOL_CALLS]get_weather[ARGS]{"city": "P"}',
    '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "P"}}]',
    '<|start|>assistant<|channel|>commentary to=functions.get_weather<|message|>{"city": "P"}<|end|>',
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    '<function_calls>get_weather(city="P")</function_calls>',
    "<|tool_call_start|>[get_weather(city='P')]<|tool_call_end|>",
    "<start_function_call>call:get_weather{city:<escape>P<escape>}<end_function_call>",
    '<|tool_call>call:get_weather{city:<|"|>P<|"|>}<tool_call|>',
    '<|START_ACTION|>[{"tool_name": "get_weather", "parameters": {"city": "P"}}]<|END_ACTION|>',
    ' to=get_weather<|message|><atem:function_calls><atem:invoke name="get_weather">'
    '<atem:parameter name="city">P</atem:parameter></atem:invoke></atem:function_calls><|eom|>',
    '{"name": "get", "arguments": {}}',
)
_MARKS = (
    *(
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<user>",
        "</user>",
        "[THINK]",
        "[/THINK]",
        "[ARGS]",
    ),
    *("<|channel>thought\n", "<channel|>", "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant"),
    *("<|END_THINKING|>", "<|START_TEXT|>", "<|END_TEXT|>", " to=self<|message|>", "<|eom|>", '<|"|>'),
    *(
        "<arg_key>",
        "</arg_value>",
        "<parameter=a>",
        "</function>",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        '"',
        "'",
        "\\",
        "<",
    ),
)
_SPACES = st.sampled_from((" ", "\n", "\n\n", "\t "))


def _tags_of(name: str) -> list[str]:
    """What stands in the replies of one parser's models, the parts of a call too."""
    info = find_parser(name)
    found = [] if info is None else [*info.tokens, *(info.calls.markers if info.calls is not None else ())]
    if name in readers():
        form = envelope(name)
        found += [form.opening, form.closing, form.reply("get_weather", '{"city": "P"}')]
    return [text for text in found if text]


@st.composite
def _replies(draw: st.DrawFn, name: str, words: bool = False) -> str:
    """Tags, pieces of tags, calls and text in any order; with `words`, the only text is unique words."""
    marks = st.sampled_from(_MARKS)
    if own := _tags_of(name):
        marks |= st.sampled_from(own)
    parts = draw(
        st.lists(
            st.one_of(
                marks,
                st.sampled_from(_CALLS),
                st.tuples(marks, st.integers(1, 12)).map(lambda cut: cut[0][: cut[1]]),
                _SPACES,
                st.just("WORD") if words else st.text(max_size=8),
            ),
            max_size=14,
        )
    )
    return "".join(f"w{i}w" if part == "WORD" else part for i, part in enumerate(parts))


@st.composite
def _cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


_THINK: st.SearchStrategy[Think] = st.sampled_from((None, True, False))
_LAST = st.sampled_from((None, Message("user", "x"), Message("assistant", "x"), Message("tool", "x")))
_TOOLS: st.SearchStrategy[tuple[Tool, ...]] = st.sampled_from(((), TOOLS))


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), think=_THINK, last=_LAST, tools=_TOOLS)
def test_any_cut_gives_the_same(
    name: str, data: st.DataObject, think: Think, last: Message | None, tools: tuple[Tool, ...]
) -> None:
    """Joined, the events of two cuts of a reply are equal."""
    text = data.draw(_replies(name))
    whole = join(run(make_parser(name, last, think, tools), [text]))
    assert join(run(make_parser(name, last, think, tools), data.draw(_cut(text)))) == whole
    assert join(run(make_parser(name, last, think, tools), list(text))) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_word_is_lost(name: str, data: st.DataObject) -> None:
    """Every word comes out once; only headers of messages may hold some."""
    text = data.draw(_replies(name, words=True))
    found = join(run(make_parser(name, think=True), [text]))
    info = find_parser(name)
    if info is not None and not info.has_thinking and name.startswith("gemma4"):
        return
    out = found.get("c", "") + found.get("t", "") + json.dumps(found.get("calls", []), ensure_ascii=False)
    headless = re.sub(r"(<\|channel\|>|<\|constrain\|>|\bto=)[^\s<]*", " ", text)
    for word in re.findall(r"w[0-9]+w", headless):
        assert out.count(word) == 1


@pytest.mark.parametrize("name", PARSERS)
def test_plain_text_is_given_out_at_once(name: str) -> None:
    """A word that can begin no tag is never held back."""
    parser = make_parser(name)
    for word in ("Well", ", this", " is", " text", ".\n", "And", " more"):
        parsed = parser.feed(word)
        shown = parsed.content + parsed.thinking
        assert shown.strip() == word.strip()
    assert not parser.finish().tool_calls


_OPENINGS = {
    "qwen3": "<tool_call>",
    "qwen3-coder": "<tool_call>",
    "qwen3-vl-instruct": "<tool_call>",
    "ministral": "[TOOL_CALLS]get[ARGS]{",
    "cogito": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
    "deepseek3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
    "olmo3": "<function_calls>",
    "functiongemma": "<start_function_call>",
    "gemma4": '<|tool_call>call:get{a:<|"|>',
    "glm-ocr": "<tool_call>",
    "lfm2": "<|tool_call_start|>",
    "laguna": "<user>",
    "cohere": "</x><|END_THINKING|><|START_ACTION|>",
    "glimmer": " to=get<|message|><atem:function_calls>",
    "harmony": "<|channel|>commentary to=functions.get<|message|>",
    "generic:<tool_call>": "<tool_call>",
    "generic:[": "[",
    "generic:{": "{",
}


@pytest.mark.parametrize("name", _OPENINGS)
def test_an_open_call_is_not_held_for_ever(name: str) -> None:
    """After 1 MiB without an end it was no call: all of it is text, and what follows streams again."""
    parser = make_parser(name)
    opening = _OPENINGS[name]
    filler = "word " * 2000
    pieces = [parser.feed(opening)]
    pieces += [parser.feed(filler) for _ in range(MAX_HELD_CHARS // len(filler) + 2)]
    pieces.append(parser.feed("The end"))
    content = "".join(parsed.content for parsed in pieces)
    assert content.endswith("word The end")
    assert content.count("word") == filler.count("word") * (MAX_HELD_CHARS // len(filler) + 2)
