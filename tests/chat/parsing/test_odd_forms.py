"""Calls in odd forms: never an error, never lost text, the same at every cut, and mended where it is certain."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chat.parsing.cases import TOOLS, join, make_parser, run
from tests.chat.parsing.odd_forms import ENVELOPES, FORMS, envelope, outcome, readers, replies, words_of

# The families whose calls are JSON between two tags, and one form of each of the others.
JSON_IN_TAGS = ("qwen3", "qwen3-thinking", "qwen3-vl-instruct", "qwen3-vl-thinking", "generic:<tool_call>")
IN_TAGS = (
    *JSON_IN_TAGS,
    "qwen3.5",
    "qwen3-coder",
    "nemotron-3-nano",
    "glm-4.7",
    "glm-ocr",
    "laguna",
    "cohere",
)
JSON_ARGUMENTS = (*JSON_IN_TAGS, "ministral", "harmony", "cogito", "deepseek3", "cohere")


def test_every_reader_has_an_envelope() -> None:
    """And none is left of a parser that is gone."""
    assert set(ENVELOPES) == set(readers())


@pytest.mark.slow
@pytest.mark.parametrize("parser", readers())
def test_no_form_loses_text(parser: str) -> None:
    """Every word comes out once, whole and letter by letter; a parser that raised would fail here."""
    for form, reply in replies(parser):
        whole = outcome(parser, reply)
        out = json.dumps(whole, ensure_ascii=False)
        assert [(form, w, out.count(w)) for w in words_of(reply) if out.count(w) != 1] == []
        assert join(run(make_parser(parser, think=True), list(reply))) == whole, form


@pytest.mark.slow
@pytest.mark.parametrize("parser", readers())
@pytest.mark.parametrize("tools", [(), TOOLS], ids=["no-tools", "tools"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_of_any_form_gives_the_same(parser: str, tools: Any, data: st.DataObject) -> None:
    """Two odd replies in a row, a piece of them left out or doubled, cut anywhere."""
    forms = data.draw(st.lists(st.sampled_from(list(FORMS)), min_size=1, max_size=2))
    text = "\n".join(FORMS[form](envelope(parser)) for form in forms)
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    text = text[:end] + text[start:] if data.draw(st.booleans()) else text[:start] + text[end:]
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    cut = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole = join(run(make_parser(parser, think=True, tools=tools), [text]))
    assert join(run(make_parser(parser, think=True, tools=tools), cut)) == whole


def calls(parser: str, form: str) -> Any:
    found = outcome(parser, FORMS[form](envelope(parser)))
    return found.get("calls"), found.get("c", "").strip()


CITY: list[Any] = [["get_weather", {"city": "w1w"}]]
MENDED: dict[str, tuple[Any, str]] = {
    "missing bracket": (CITY, ""),
    "missing closing tag": (CITY, ""),
    "missing closing tag, text": (CITY, "w2w w3w."),
    "Python's dict": ([["get_weather", {"city": "w1w", "ok": True, "u": None}]], ""),
    "no arguments": ([["get", {}]], ""),
    "flat arguments": (CITY, ""),
    "parameters": (CITY, ""),
    "in function": (CITY, ""),
    "several objects": ([*CITY, ["get_weather", {"city": "w2w"}]], ""),
    "list of objects": ([*CITY, ["get_weather", {"city": "w2w"}]], ""),
    "XML in the tag": (CITY, ""),
    "XML, value not closed": (CITY, ""),
    "XML, JSON inside": (CITY, ""),
    "JSON in the tag": (CITY, ""),
    "pairs in the tag": (CITY, ""),
    "Python's call in the tag": ([["get_weather", {"city": "w1w", "days": 3}]], ""),
    "name before the arguments": (CITY, ""),
    "code block in the tag": (CITY, ""),
    "doubled opening tag": (CITY, ""),
    "doubled tags": (CITY, "w2w"),
    "text before, in the tag": ([["get_weather", {"city": "w2w"}]], "w1w:"),
    "text after, in the tag": (CITY, "w2w w3w"),
    "more members": (CITY, '{"why": "w2w"}'),
    "names without quotes": (CITY, ""),
    "second call broken": (CITY, '{"name": "get_weather", "arguments": {w2w'),
}


@pytest.mark.parametrize("parser", IN_TAGS)
@pytest.mark.parametrize("form", MENDED)
def test_certain_forms_are_mended(parser: str, form: str) -> None:
    """What can mean only one call is that call; text beside it is content."""
    found, content = calls(parser, form)
    wanted, text = MENDED[form]
    assert found == wanted
    content = content.removesuffix(envelope(parser).closing).removeprefix(envelope(parser).opening)
    assert content.strip() == text


LEFT = (
    *("tag in prose", "both tags in prose", "name missing", "name empty", "comments", "quotes in the tag"),
    *("a word in the tag", "a number in the tag", "brackets in the tag", "cut in the name"),
)


@pytest.mark.parametrize("parser", IN_TAGS)
@pytest.mark.parametrize("form", LEFT)
def test_uncertain_forms_are_text(parser: str, form: str) -> None:
    """All of it, tags and all."""
    reply = FORMS[form](envelope(parser)).removeprefix(envelope(parser).before)
    assert outcome(parser, FORMS[form](envelope(parser)))["c"] == reply


ARGUMENTS: dict[str, Any] = {
    "raw line break in a string": {"city": "w1w\nw2w"},
    "raw tab in a string": {"city": "w1w\tw2w"},
    "trailing comma": {"city": "w1w"},
    "trailing bracket": {"city": "w1w"},
    "Python's arguments": {"city": "w1w", "ok": True, "u": None},
    "arguments as a string": {"city": "w1w"},
    "arguments in a list": {"city": "w1w"},
    "arguments null": {},
    "arguments empty": {},
    "NaN": {"city": "w1w", "temp": "NaN"},
    "Infinity": {"city": "w1w", "temp": ["Infinity", "-Infinity"]},
    "huge float": {"city": "w1w", "temp": "1e999"},
    "huge integer": {"city": "w1w", "days": int("123456789" * 5)},
    "number of 5,000 digits": {"city": "w1w", "days": "9" * 5000},
    "float for an integer": {"city": "w1w", "days": 5.0},
    "half a surrogate pair": {"city": "w1w \ufffd w2w"},
    "surrogate pair": {"city": "w1w \U0001f600 w2w"},
    "escapes of no kind": {"city": "w1w \\d \\_ w2w"},
}


# The end of Ministral's arguments is seen by their last brace; what has none is text to the end of the reply.
NO_BRACES = {("ministral", "arguments in a list")}


@pytest.mark.parametrize(
    ("parser", "form"),
    [pair for pair in itertools.product(JSON_ARGUMENTS, ARGUMENTS) if pair not in NO_BRACES],
)
def test_arguments_are_mended(parser: str, form: str) -> None:
    """Of families that write them as JSON."""
    assert calls(parser, form)[0] == [["get_weather", ARGUMENTS[form]]]


# Glimmer's call ends with two tags, those of the others do not end with a tag.
NO_CLOSING_TAG = ("glimmer", "ministral", "generic:{", "generic:[TOOL_CALLS] [")


@pytest.mark.parametrize("parser", [name for name in readers() if name not in NO_CLOSING_TAG])
def test_a_closing_tag_in_a_value_is_text(parser: str) -> None:
    """Of the value, not the end of the call."""
    found, content = calls(parser, "closing tag in a value")
    closing = envelope(parser).closing
    assert (found, content) == ([["get_weather", {"city": f"w1w {closing} w2w"}]], "")


@pytest.mark.parametrize("parser", JSON_IN_TAGS[:4])
def test_what_follows_a_string_without_an_end_is_read_again(parser: str) -> None:
    """Its first closing tag was its end after all, and the next call counts."""
    form = "string without an end, then a call"
    found, content = calls(parser, form)
    assert found == [["get_weather", {"city": "w3w"}]]
    assert content == '<tool_call>{"name": "get", "arguments": {"a": "w1w}}</tool_call>\nw2w'


def test_closing_tags_that_are_read_again_are_bounded() -> None:
    """A reply of nothing but broken calls costs no more than a bounded number of readings."""
    broken = '<tool_call>{"name": "get", "arguments": {"a": "x}}</tool_call>\n'
    found = join(run(make_parser("qwen3"), [broken * 4000]))
    assert found == {"c": (broken * 4000).rstrip()}


@pytest.mark.parametrize("parser", [*IN_TAGS, "olmo3", "lfm2"])
def test_talk_about_a_tag_streams(parser: str) -> None:
    """What goes on for a thousand characters without brackets is no call, and nobody waits for its end."""
    made, e = make_parser(parser, think=True), envelope(parser)
    pieces = [
        made.feed(e.before),
        made.feed(f"Write {e.opening} before"),
        *(made.feed(" word") for _ in range(210)),
    ]
    content = "".join(piece.content for piece in pieces)
    assert content == f"Write {e.opening} before" + " word" * 210


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["qwen3", "glm-ocr", "generic:<tool_call>"])
def test_any_cut_at_the_end_of_talk_gives_the_same(parser: str) -> None:
    """The bound falls on the same letter however the reply comes."""
    for size in (*range(985, 1016), 1500):
        for what in ('{"name": "get", "arguments": {}}', "</tool_call>", "<tool_call>", "<x"):
            text = "<tool_call>" + "x" * size + what + "</tool_call> after"
            whole = join(run(make_parser(parser), [text]))
            assert join(run(make_parser(parser), list(text))) == whole
            assert join(run(make_parser(parser), [text[:size], text[size:]])) == whole


@pytest.mark.parametrize("depth", [150, 250, 1000, 5000])
@pytest.mark.parametrize(
    "parser", ["qwen3", "ministral", "harmony", "deepseek3", "cohere", "generic:<tool_call>"]
)
def test_deep_values(parser: str, depth: int) -> None:
    """What is nested too deeply to be written again is text."""
    inner = '{"o": ' * depth + "1" + "}" * depth
    found = outcome(parser, envelope(parser).reply("get_weather", inner))
    assert ("calls" in found) == (depth < 200)
    wrapped = outcome(parser, envelope(parser).around('{"function": ' * depth + '"\\ud800"' + "}" * depth))
    assert "calls" not in wrapped
