"""Clients' grammars: what the engine could not read, or would not get out of, is refused, by the engine's measure."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import pytest

from corral.chat.grammar.budget import Budget, WorkLimitError
from corral.chat.grammar.checks import check_grammar
from corral.chat.grammar.gbnf import read_grammar
from corral.chat.grammar.stacks import MAX_STACKS, Stacks, worst_text
from corral.errors import SchemaError
from corral.inference.bindings import Binding, bind
from tests.chat.grammar.engine_grammar import EngineGrammar

JSON_GRAMMAR = r"""
# as in llama.cpp's own collection
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::=
  "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
GOOD = {
    "words": 'root ::= "yes " [0-9]{3} | "no"',
    "json": JSON_GRAMMAR,
    "arithmetic": 'root ::= expr\nexpr ::= term ([-+*/] term)*\nterm ::= [0-9]+ | "(" expr ")"',
    "list": 'root ::= item+\nitem ::= "- " [^\\r\\n\\x0b]+ "\\n"',
    "any character": 'root ::= ("a" .){1,3}',
    "unicode": 'root ::= [\\u4e00-\\u9fff\\U0001F600-\\U0001F64F]+ "é"',
    "words by hundreds": "root ::= " + " | ".join(f'"word{i}"' for i in range(900)),
    "several lines": 'root ::= a |\n  "x"\na ::= ("b" |\n "c")',
}
BAD = {
    "nothing": ("", "no rule named root"),
    "other syntax": ('%llguidance {}\nroot ::= "a"', "line 1: expected the name of a rule"),
    "unknown rule": ("root ::= nope", 'refers to "nope", which is not there'),
    "left recursion": ('root ::= root "a" | "a"', "begins with itself"),
    "hidden left recursion": ('root ::= e root "x" | "y"\ne ::= "a"?', "begins with itself"),
    "empty repeated": ('root ::= ("a"?)*', "may be empty"),
    "no end": ('root ::= "a" root', "no text of it ever ends"),
    "no character": ('root ::= "\\x00"', "no text of it ever ends"),
    "repetition": ('root ::= "a"{3000}', "at most 2000"),
    "repetitions in repetitions": ('root ::= (("a"{100}){100}){100}', "repeats too much"),
    "doubling": ('root ::= "x" root "y" | "x" root "z" | "x"', "too ambiguous"),
    "doubling late": ('root ::= e\ne ::= "{l:" e ",op:a}" | "{l:" e ",op:b}" | "1"', "too ambiguous"),
    "doubling by rules": (
        "root ::= a0\n" + "".join(f'a{i} ::= "x" a{i + 1} "y" | "x" a{i + 1}\n' for i in range(40)) + 'a40 ::= "w"',
        "too ambiguous",
    ),
    "options of options": ('root ::= ([a-z]{0,40} "x"?){0,40}', "too ambiguous"),
    "twice": ('root ::= "a"\nroot ::= "b"', "there twice"),
    "open literal": ('root ::= "a', "does not end"),
    "open group": ('root ::= ("a"', "expected )"),
    "range": ("root ::= [z-a]", "end first"),
    "escape": ('root ::= "\\q"', "unknown escape"),
    "too long": ('root ::= "' + "a" * (600 << 10) + '"', "longer than"),
    "deep": ("root ::= " + "(" * 500 + '"a"' + ")" * 500, "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_the_engine_reads_passes(name: str) -> None:
    """Ours and the engine's opinion."""
    check_grammar(GOOD[name], Budget())
    EngineGrammar(GOOD[name]).close()


@pytest.mark.parametrize("name", BAD)
def test_what_would_harm_is_refused(name: str) -> None:
    """With the reason."""
    text, reason = BAD[name]
    with pytest.raises(
        SchemaError, match="invalid grammar: .*" + reason.replace("(", r"\(").replace(")", r"\)")
    ):
        check_grammar(text, Budget())


def test_the_work_of_a_check_is_bounded() -> None:
    """On the event loop it gives up; as a last word it lets pass what it could not look through."""
    with pytest.raises(WorkLimitError):
        check_grammar(JSON_GRAMMAR, Budget(4000), is_final=False)
    check_grammar(JSON_GRAMMAR, Budget(4000), is_final=True)


def random_grammar(rng: random.Random) -> str:
    """A few rules of random expressions, many of them ambiguous or recursive."""
    names = ["root", "a", "b", "c"]

    def node(depth: int) -> str:
        kind = rng.randrange(9 if depth else 4)
        if kind == 0:
            return f'"{rng.choice(["x", "y", "xy", ""])}"'
        if kind == 1:
            return rng.choice(["[xy]", "[^x]", "[x-z]", "."])
        if kind in (2, 3):
            return f'"{rng.choice("xy")}" {rng.choice(names)}'
        if kind in (4, 5):
            return f"({node(depth - 1)} | {node(depth - 1)})"
        if kind == 6:
            return f"({node(depth - 1)}){rng.choice(['*', '+', '?', '{2}', '{0,3}', '{2,}'])}"
        return f"{node(depth - 1)} {node(depth - 1)}"

    return "\n".join(f'{name} ::= {node(3)} | "{name[0]}"' for name in names)


# In a process of its own: a grammar that the engine cannot bear would end this one.
_CHILD = """
import json, sys
from tests.chat.grammar.engine_grammar import EngineGrammar
for line in sys.stdin:
    text, steps = json.loads(line)
    try:
        engine = EngineGrammar(text)
    except ValueError:
        print("null", flush=True)
        continue
    counts = []
    for char in steps:
        engine.feed(char)
        counts.append(engine.stack_count)
    engine.close()
    print(json.dumps(counts), flush=True)
"""


@pytest.mark.process
def test_random_grammars_on_the_engine() -> None:
    """What we let pass the engine survives: it has as many stacks behind a text as we think, never too many.

    It refuses some of them, with an error: it sees left recursion in more forms.
    """
    rng = random.Random(5)
    cases: list[tuple[str, str, list[int]]] = []
    while len(cases) < 100:
        text = random_grammar(rng)
        try:
            check_grammar(text, Budget(60_000))
        except SchemaError:
            continue
        stacks = Stacks(read_grammar(text), Budget())
        counts: list[int] = []
        now, steps = stacks.start(), ""
        for _ in range(12):
            char = rng.choice("xyza")
            after = stacks.after(now, ord(char))
            if not after or after == {0}:
                break
            now, steps = after, steps + char
            counts.append(len(now))
        cases.append((text, steps, counts))
    lines = "".join(json.dumps((text, steps)) + "\n" for text, steps, _ in cases)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=lines, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    read = [
        (answer, counts) for answer, (_, _, counts) in zip(answers, cases, strict=True) if answer is not None
    ]
    assert len(read) > len(cases) / 2
    assert [answer for answer, _ in read] == [counts for _, counts in read]
    assert max(max(counts, default=0) for counts, _ in read) <= MAX_STACKS


def test_the_worst_text_is_as_bad_on_the_engine() -> None:
    """The search finds what the engine has to carry."""
    text, count = worst_text(read_grammar(BAD["doubling late"][0]), Budget())
    engine = EngineGrammar(BAD["doubling late"][0])
    assert engine.feed(text)
    assert engine.stack_count == count > MAX_STACKS
    engine.close()


_SELF = {"$ref": "#"}
_TREE = {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"type": "null"}]}
# Alternatives that begin alike, within each other.
ALIKE: dict[str, Any] = {
    "told late": {
        "anyOf": [
            {"properties": {"left": _SELF, "op": {"const": "+"}}, "required": ["left", "op"]},
            {"properties": {"left": _SELF, "op": {"const": "-"}}, "required": ["left", "op"]},
            {"type": "null"},
        ]
    },
    "optional": {"anyOf": [{"properties": {"l": _SELF, "x": True}}, {"properties": {"l": _SELF, "y": True}}]},
    "open": {
        "anyOf": [
            {"type": "object", "additionalProperties": _SELF, "minProperties": 1},
            {"type": "object", "additionalProperties": _SELF, "maxProperties": 3},
        ]
    },
    "other values": {
        "$defs": {
            "a": {"properties": {"n": _TREE, "t": {"const": 1}}, "required": ["n", "t"]},
            "b": {
                "properties": {"n": {"anyOf": _TREE["anyOf"][:2]}, "t": {"const": 2}},
                "required": ["n", "t"],
            },
        },
        **_TREE,
    },
}


@pytest.mark.parametrize("name", ALIKE)
def test_alternatives_that_begin_alike_stay_few(name: str) -> None:
    """By the way their grammars are made, whatever the depth."""
    text = bind(Binding(format=json.dumps(ALIKE[name]))).text
    _, count = worst_text(read_grammar(text), Budget())
    assert count < 20


def test_alternatives_that_multiply_are_refused() -> None:
    """Lists of lists of either of two kinds, which nothing tells apart."""
    lists = [
        {"type": "array", "items": _SELF, "maxItems": 3},
        {"type": "array", "items": _SELF, "minItems": 5},
    ]
    with pytest.raises(SchemaError, match="alternatives that begin alike multiply"):
        bind(Binding(format=json.dumps({"anyOf": [*lists, {"type": "null"}]})))
    assert bind(Binding(format=json.dumps({"anyOf": lists[:1]}))).text
