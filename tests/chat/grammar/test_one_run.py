"""The grammar of thinking and a bound answer, on the engine's matcher: free up to the closing tag, bound after it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.families.known import find_parser, parser_names
from corral.chat.grammar.schema import Grammar
from corral.chat.parsing.answers import AnswerForm, AnswerReader
from corral.errors import SchemaError
from corral.inference.bindings import Binding, FormKey, bind
from corral.inference.reply_parser import Replies
from corral.types import Tool, ToolFunction, ToolParameters
from tests.chat.grammar.engine_grammar import EngineGrammar

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORMAT = json.dumps(SCHEMA)
TAGS = FormKey(tag="<tool_call>", thinking=("<think>", "</think>"))
TOOLS = (Tool("function", None, ToolFunction("get", "", ToolParameters("object", properties={}))),)
CALL = '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>'


def fed(grammar: Grammar, text: str) -> tuple[bool, bool]:
    """Whether the text is allowed, and whether it may end there."""
    engine = EngineGrammar(grammar.text)
    try:
        return engine.feed(text), engine.stack_count > 0 and engine.may_end
    finally:
        engine.close()


def answer(begin: str, **fields: object) -> Grammar:
    values: dict[str, object] = {"format": FORMAT, "form": TAGS, "thinking": begin, **fields}
    return bind(Binding(**values))  # type: ignore[arg-type]


BEGUN, MAY = answer("begun"), answer("may")
WITH_TOOLS = answer("begun", tools=TOOLS, calls="may")


@pytest.mark.parametrize(
    ("grammar", "text", "is_allowed", "may_end"),
    [
        (BEGUN, "", True, True),  # the model may end in its thinking; another run answers then
        (BEGUN, "well <b> </thin <think>", True, True),
        (BEGUN, "well</think>", True, False),
        (BEGUN, 'well</think>{"n": 1}', True, True),
        (BEGUN, 'well</think>\n\n{"n": 1}', True, True),
        (BEGUN, "</think>", True, False),
        (BEGUN, "well</think>Sure", False, False),
        (BEGUN, "well</think>\n\n\n", False, False),
        (BEGUN, 'well</think>{"n": 1}x', False, False),
        (BEGUN, '{"n": 1}', True, True),  # thinking, too
        (MAY, "", True, False),
        (MAY, '{"n": 1}', True, True),
        (MAY, "Sure", False, False),
        (MAY, "<think>Sure", True, True),
        (MAY, '\n<think>Sure</think>{"n": 1}', True, True),
        (MAY, "<think>Sure</think>", True, False),
        (MAY, "<think>Sure</think>x", False, False),
        (WITH_TOOLS, f"well</think>\n{CALL}", True, True),
        (WITH_TOOLS, 'well</think>\n{"n": 1}', True, True),
        (WITH_TOOLS, "well</think>\n<tool_call>x", False, False),
        (WITH_TOOLS, "well<tool_call>", False, False),  # its reader would take it for a call
        (BEGUN, "well<tool_call>", True, True),  # and this one does not
    ],
)
def test_what_may_be_said(grammar: Grammar, text: str, is_allowed: bool, may_end: bool) -> None:
    """Thinking is free, and everything after its end is not."""
    assert fed(grammar, text) == (is_allowed, may_end)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_any_thought_is_allowed(text: str) -> None:
    """But for the tag that ends it, in any script."""
    text = text.replace("</think>", "")
    assert fed(BEGUN, text) == (True, True)
    assert fed(MAY, f"<think>{text}</think>") == (True, False)
    assert fed(WITH_TOOLS, text.replace("<tool_call>", "") + '</think>{"n": 7}') == (True, True)


THINKERS = [
    name for name in parser_names() if (found := find_parser(name)) is not None and found.has_thinking
]


@pytest.mark.parametrize("name", THINKERS)
def test_families(name: str) -> None:
    """Each with its own tags, and with what it writes in front of an answer."""
    key = FormKey(name)
    form = key.form()
    assert form.thinking is not None
    opening, closing = form.thinking
    grammar = answer("may", form=key)
    for start in ("", *form.answer_starts):
        assert fed(grammar, f'{opening}well{closing}\n{start}{{"n": 1}}') == (True, True)
    assert fed(grammar, f"{opening}well{closing}\nSure")[0] is False
    assert fed(grammar, "Sure")[0] is False


HEADERS = ("harmony", "glimmer")


@pytest.mark.parametrize("name", [name for name in THINKERS if name not in HEADERS])
def test_calls_begin_with_their_marker(name: str) -> None:
    """By which the reader tells them from an answer."""
    key = FormKey(name, tag="{")
    form = key.form()
    grammar = answer("begun", form=key, tools=TOOLS, calls="may")
    assert form.thinking is not None
    before = f"x{form.thinking[1]}"
    assert not form.markers or any(fed(grammar, before + marker)[0] for marker in form.markers)
    first = {marker[0] for marker in form.markers} | {start[0] for start in form.answer_starts} | {"{", "\n"}
    for char in map(chr, range(32, 127)):
        assert fed(grammar, before + char)[0] == (char in first)


CLIENTS = [
    ('root ::= "yes" | "no"', True, ["yes", "no"], ["maybe", "\nyes\n"]),
    ('root ::= "\\n"? "a" root | "b"', False, ["\nab", "b", "aab"], ["\n\nb", "c"]),
    (
        'r-answer ::= [ro"]{2} # root\nroot ::= r-answer c-root\nc-root ::= ws ws\nws ::= "x"',
        True,
        ['r"xx'],
        ["abxx"],
    ),
    ("root ::= [^\\]<\\n]+", True, ["text", "x"], ["]"]),
]


@pytest.mark.parametrize(("text", "has_gap", "good", "bad"), CLIENTS)
def test_grammars_of_clients(text: str, has_gap: bool, good: list[str], bad: list[str]) -> None:
    """Their rules keep their meaning among ours; line breaks of theirs are theirs."""
    for begin, before in (("begun", "well</think>"), ("may", "<think>well</think>"), ("may", "")):
        grammar = answer(begin, format="", grammar=text)
        assert grammar.has_gap == has_gap
        for said in good:
            assert fed(grammar, before + said) == (True, True), said
            assert not has_gap or fed(grammar, f"{before}\n{said}")[0] == bool(before)
        for said in bad:
            assert fed(grammar, before + said) != (True, True), said


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ('root ::= "<think>" [a-z]* "</think>" "x"', "may"),
        ('root ::= "\\n" "<" [a-z>]*', "may"),
        ("root ::= [^x]+", "may"),
    ],
)
def test_what_begins_like_thinking(text: str, begin: str) -> None:
    """Nobody could tell it from thinking: that is not for one run. Thinking that was begun has an end to tell by."""
    with pytest.raises(SchemaError, match="begins like thinking"):
        answer(begin, format="", grammar=text)
    assert answer("begun", format="", grammar=text).text


PIECES = [
    "Sure", " ", "\n", "\n\n", "<think>", "</think>", "</", "think", ">", "{", "}", '{"', 'n"', ": ", '"n": ', "1",
    "42", "-", "<tool_call>", "</tool_call>", CALL, '{"name": "get"', ", ", "[", "]", "é", "中", '"',
]  # fmt: skip


def spoken(grammar: Grammar, seed: int, length: int = 40) -> Iterator[str]:
    """A model that says anything that the grammar allows, and ends somewhere."""
    choose = random.Random(seed)
    text = ""
    for _ in range(length):
        if choose.random() < 0.2 and fed(grammar, text)[1]:
            return
        wanted = choose.sample(PIECES, len(PIECES))
        piece = next((piece for piece in wanted if fed(grammar, text + piece)[0]), "")
        if not piece:
            return
        text += piece
        yield piece


@pytest.mark.slow
@pytest.mark.parametrize("begin", ["begun", "may"])
@pytest.mark.parametrize("tools", [(), TOOLS], ids=["answer", "tools"])
def test_whatever_is_said_the_answer_is_bound(begin: str, tools: Sequence[Tool]) -> None:
    """No answer, because the reply ended in its thinking, or a call, or JSON of the schema. All of these come up."""
    grammar = answer(begin, tools=tuple(tools), calls="may" if tools else "")
    kinds = set()
    for seed in range(40):
        prompt = "<think>" if begin == "begun" else ""
        inner = Replies(None, ("<think>", "</think>"), "<tool_call>").reader(
            prompt, tools, None, True, is_strict=True
        )
        assert inner is not None
        calls = ("<tool_call>",) if tools else None
        reader = AnswerReader(inner, AnswerForm(begin, ("<think>", "</think>"), 2, (), calls))  # type: ignore[arg-type]
        pieces = list(spoken(grammar, seed))
        found = [*map(reader.feed, pieces), reader.finish()]
        content = "".join(part.content for part in found)
        if not fed(grammar, "".join(pieces))[1]:
            kinds.add("cut off")
        elif any(part.tool_calls for part in found):
            assert content.strip() == ""
            kinds.add("call")
        elif reader.is_thinking:
            assert content == ""
            kinds.add("thinking")
        else:
            jsonschema.validate(json.loads(content), SCHEMA)
            kinds.add("answer")
    assert kinds >= ({"thinking", "answer", "call"} if tools else {"thinking", "answer"})
