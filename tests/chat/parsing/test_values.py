"""Values and calls that models write in forms of their own."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.chat.parsing.coerce import coerce, coerce_parameter, find_tool
from corral.chat.parsing.gemma_values import parse_gemma_call
from corral.chat.parsing.glm_call import parse_glm_call
from corral.chat.parsing.pythonic import parse_python_calls
from corral.chat.parsing.qwen_xml import parse_xml_calls
from corral.types import Tool, ToolFunction, ToolParameters, ToolProperty
from tests.chat.parsing.cases import TOOLS

COERCED: list[tuple[str, tuple[str, ...], Any]] = [
    ("text", (), "text"),
    ("12", (), "12"),
    ("\n12\n", ("integer",), 12),
    ("\n\n12", ("string",), "\n12"),
    ("NULL", ("string",), None),
    ("True", ("boolean",), True),
    ("yes", ("boolean",), False),
    ("yes", ("boolean", "string"), "yes"),
    ("1", ("boolean", "integer"), 1),
    ("1_000", ("integer",), "1_000"),
    ("9223372036854775807", ("integer",), 9223372036854775807),
    ("9223372036854775808", ("integer",), "9223372036854775808"),
    ("3.0", ("number",), 3),
    ("3.5", ("number",), 3.5),
    ("1e400", ("number",), "1e400"),
    ("nan", ("number",), "nan"),
    ("12", ("string", "number"), 12),
    ("[1, 2]", ("array",), [1, 2]),
    ("{}", ("array",), "{}"),
    ('{"b":1,"a":2}', ("object",), {"b": 1, "a": 2}),
    ("{", ("object",), "{"),
]


@pytest.mark.parametrize(("raw", "types", "value"), COERCED)
def test_coerce(raw: str, types: tuple[str, ...], value: Any) -> None:
    """Types are tried in a fixed order; what fits none stays text."""
    found = coerce(raw, types)
    assert found == value
    assert type(found) is type(value)


def test_types_of_all_branches_count() -> None:
    """`anyOf` pools the types of its branches; an unknown parameter, or one of an unknown tool, is text."""
    tool = find_tool(TOOLS, "get_weather")
    assert [coerce_parameter(raw, tool, "a") for raw in ("1.5", "x")] == [1.5, "x"]
    assert coerce_parameter("1", tool, "nope") == "1"
    assert coerce_parameter("1", None, "days") == "1"


def test_types_have_many_names() -> None:
    """Those that a grammar knows are known where a value is read, too."""
    properties = {
        "days": ToolProperty(types=("int",)),
        "exact": ToolProperty(types=("bool",)),
        "tags": ToolProperty(types=("list",)),
        "Place": ToolProperty(types=("OBJECT",)),
    }
    tool = Tool("function", None, ToolFunction("f", "", ToolParameters("object", properties=properties)))
    raw = {"days": "3", "exact": "true", "tags": "[1]", "Place": '{"a": 1}'}
    found = {name: coerce_parameter(text, tool, name) for name, text in raw.items()}
    assert found == {"days": 3, "exact": True, "tags": [1], "Place": {"a": 1}}


PYTHON: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "": [],
    "[]": [],
    "f()": [("f", {})],
    "f(a=1)\ng(b=2)": [("f", {"a": 1}), ("g", {"b": 2})],
    "[f(a=1), g()]": [("f", {"a": 1}), ("g", {})],
    "f(a='x, y)', b=\"it's\")": [("f", {"a": "x, y)", "b": "it's"})],
    r"f(a='it\'s', b='a\nb', c='\d')": [("f", {"a": "it's", "b": "a\nb", "c": r"\d"})],
    "f(a=[1, 'x', None], b={'k': True, \"l\": [2.5]})": [
        ("f", {"a": [1, "x", None], "b": {"k": True, "l": [2.5]}})
    ],
    "f(a=-1, b=1e3, c=null, d=word, e=g(1, 2))": [
        ("f", {"a": -1, "b": 1000.0, "c": None, "d": "word", "e": "g(1, 2)"})
    ],
    "f(a=[1)": [("f", {"a": [1]})],
    "a.b-c(x=1,)": [("a.b-c", {"x": 1})],
}


@pytest.mark.parametrize("text", PYTHON)
def test_python_calls(text: str) -> None:
    """Calls as Python would write them, with either set of constants."""
    assert parse_python_calls(text) == PYTHON[text]


@pytest.mark.parametrize(
    "text", ["f(", "f(a)", "f(1)", "f(a='x)", "words", "f() and more", "f(a=" + "[" * 200]
)
def test_no_python_calls(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"expected|nested"):
        parse_python_calls(text)


@given(st.text(alphabet="f(a=[{'\"]}),1 :x\\\n", max_size=40))
def test_python_calls_never_crash(text: str) -> None:
    """Random text is calls or a ValueError."""
    with contextlib.suppress(ValueError):
        parse_python_calls(text)


D = '<|"|>'
GEMMA: dict[str, tuple[str, dict[str, Any], str]] = {
    "call:f{}": ("f", {}, ""),
    f"call:f{{a:{D}x, y}}{D},b:2,c:true,d:null,e:-1.5}}": (
        "f",
        {"a": "x, y}", "b": 2, "c": True, "d": None, "e": -1.5},
        "",
    ),
    f"call:f{{l:[1,{D}a{D},{{k:2}}],o:{{p:{{q:1}}}}}} rest": (
        "f",
        {"l": [1, "a", {"k": 2}], "o": {"p": {"q": 1}}},
        " rest",
    ),
    'call:f{"a":"x\\ny"}': ("f", {"a": "x\ny"}, ""),
    "call:f{city:'Paris'}": ("f", {"city": "Paris"}, ""),
    f"call:f{{city:'Paris'{D}}}": ("f", {"city": "Paris"}, ""),
    f"call:f{{city:{D}Paris}}": ("f", {"city": "Paris"}, ""),
    f"call:f{{city:{D}Paris": ("f", {"city": "Paris"}, ""),
    "call:f{a:1,b:[2": ("f", {"a": 1, "b": [2]}, ""),
    "call:f{a:hello, world,b:1}": ("f", {"a": "hello, world", "b": 1}, ""),
}


@pytest.mark.parametrize("text", GEMMA)
def test_gemma_call(text: str) -> None:
    """Gemma's form, and its usual faults repaired."""
    assert parse_gemma_call(text, D) == GEMMA[text]


@pytest.mark.parametrize("text", ["", "f{}", "call:f", "call:f{:1}", "call:f{a}", "call:f{a:" + "[" * 300])
def test_no_gemma_call(text: str) -> None:
    """What cannot be repaired is refused."""
    with pytest.raises(ValueError, match=r"expected|nested"):
        parse_gemma_call(text, D)


GLM: dict[str, tuple[str, list[tuple[str, str]], str]] = {
    "f": ("f", [], ""),
    "f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n": ("f", [("a", "1")], ""),
    "f<arg_key>a</arg_key><arg_value></arg_value>": ("f", [("a", "")], ""),
    "f a</arg_key><arg_value>1</arg_value>": ("f", [("a", "1")], ""),
    "f<arg_key>a<arg_value>1</arg_value>": ("f", [("a", "1")], ""),
    "f<arg_key>a</arg_key>1</arg_value><arg_key>b</arg_key><arg_value>2": ("f", [("a", "1"), ("b", "2")], ""),
    "f<arg_key>a</arg_key><arg_value>1</arg_value>stray": ("f", [("a", "1")], "stray"),
}


@pytest.mark.parametrize("body", GLM)
def test_glm_call(body: str) -> None:
    """Keys and values in tags, any of which may be missing; other text is handed back."""
    assert parse_glm_call(body) == GLM[body]


def test_no_glm_call() -> None:
    """A call has a name, and a value for every key."""
    with pytest.raises(ValueError, match="empty function name"):
        parse_glm_call(" \n")
    with pytest.raises(ValueError, match="mismatched arg_key and arg_value counts: 1 keys, 0 values"):
        parse_glm_call("f<arg_key>a</arg_key>")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "<parameter=a>",
        "</function>",
        "<function=f>\n<parameter=a>\n1\n</function>",
        "<function=f>\n",
    ],
)
def test_no_xml_call(body: str) -> None:
    """Tags that do not match."""
    with pytest.raises(ValueError, match=r"."):
        parse_xml_calls(body, TOOLS)


def test_xml_values_are_text() -> None:
    """Only the four tags count; markup in a value, several calls in one body and stray text all survive."""
    body = "<function=get>\n<parameter=q>\n<b>&amp; <a=c></b>\n</parameter></function> so <function=get></function>"
    calls, strays = parse_xml_calls(body, TOOLS)
    assert calls == [("get", {"q": "<b>&amp; <a=c></b>"}), ("get", {})]
    assert strays == " so "


@pytest.mark.parametrize("body", ["[1}", "[1, 2, city: w1w}", "[}", "[a, }, b]", "[[1}", "[{a:[}]"])
def test_gemma_lists_that_another_bracket_ends(body: str) -> None:
    """Such a list has no end, and its reader does not wait for one forever."""
    with pytest.raises(ValueError, match="expected a value"):
        parse_gemma_call(f"call:f{{a:{body}", D)


@given(st.text(alphabet="{}[]:,'\"a1- ", max_size=40))
def test_readers_of_calls_come_to_an_end(body: str) -> None:
    """Whatever brackets a model writes in whatever order."""
    with contextlib.suppress(ValueError):
        parse_gemma_call(f"call:f{{a:{body}", D)
    for is_complete in (False, True):
        with contextlib.suppress(ValueError):
            parse_python_calls(f"[f(a={body}", is_complete=is_complete)
