"""Each tag of a chat family is spelled in one module, so that changing a family is changing one file."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import corral
from corral.chat import marks
from corral.chat.families import known
from corral.chat.families.family import Family

PACKAGE = Path(corral.__file__).parent
FAMILIES = PACKAGE / "chat" / "families"
# The stop words of the Go templates that Ollama publishes, and the vocabularies of model files, are other data.
OTHER_DATA = (PACKAGE / "chat" / "templates" / "builtin", PACKAGE / "weights")
CONTROL = re.compile(r"<[|｜][^<>\s]+>|<[^<>\s]+[|｜]>|\[/?[A-Z_]+\]")
SHARED = {
    text
    for value in vars(marks).values()
    for text in (value if isinstance(value, tuple) else (value,))
    if isinstance(text, str) and text[:1] == "<"
}


@cache
def texts(path: Path) -> tuple[str, ...]:
    """The string literals of a module without its docstrings."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return tuple(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    )


def tags_of(family: Family) -> set[str]:
    """Every tag in a family's value."""
    found: set[str] = set()
    for parser in family.parsers:
        found.update(parser.tokens)
        if parser.calls is not None:
            found.update(parser.calls.markers, (parser.calls.opening, parser.calls.closing))
    for sign in family.signs:
        found.update(sign.marks)
    found.update(renderer.bos for renderer in family.renderers)
    if family.create_default is not None:
        found.update(family.create_default.stop)
    if family.go_convention is not None:
        found.update(family.go_convention.marks)
    return {text for text in found if re.fullmatch(r"<[^<>]+>|\[[^\[\]]+\]", text)}


def spelled_in(tag: str) -> set[str]:
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not any(path.is_relative_to(other) for other in OTHER_DATA)
        and any(tag in text for text in texts(path))
    }


@pytest.mark.parametrize("family", known.FAMILIES, ids=known.NAMES)
def test_tags_of_a_family_are_spelled_once(family: Family) -> None:
    """Those in its value."""
    for tag in tags_of(family) - SHARED:
        assert len(spelled_in(tag)) == 1, tag


@pytest.mark.parametrize("name", known.NAMES)
def test_control_tokens_in_a_family_are_its_own(name: str) -> None:
    """Whatever looks like a control token in a family's file stands in no other module."""
    path = FAMILIES / f"{name}.py"
    for text in texts(path):
        for tag in set(CONTROL.findall(text)):
            assert spelled_in(tag) == {str(path.relative_to(PACKAGE))}, tag


@pytest.mark.parametrize("tag", sorted(SHARED))
def test_shared_tags_are_spelled_once(tag: str) -> None:
    """In the home of shared marks."""
    assert spelled_in(tag) == {"chat/marks.py"}


def test_the_search_finds_what_it_should() -> None:
    """Tags that are known to be of one family."""
    assert spelled_in("<｜tool▁calls▁begin｜>") == {"chat/families/deepseek.py"}
    assert spelled_in("[TOOL_CALLS]") == {"chat/families/ministral.py"}
    assert "<|channel|>" in tags_of(known.FAMILIES[known.NAMES.index("harmony")])
