"""The list of families: nothing is left out, and a new family is one file and one line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from corral.chat import families
from corral.chat.families import known
from corral.chat.families.family import Family
from tests.chat.families.test_tags import FAMILIES, spelled_in

NOVEL = """
from corral.chat.families.family import CreateDefault, DecisionForm, Family, Parser, Renderer, Sign
from corral.chat.families.passthrough import create

FAMILY = Family(
    renderers=(Renderer("novel-1", lambda conversation: "novel"),),
    parsers=(Parser("novel", create, has_thinking=True),),
    signs=(Sign(("<|novel|>",), "novel"),),
    create_default=CreateDefault(("novelarch",), "novel-1", "novel"),
    decision=DecisionForm("novel-1", lambda state, questions: lambda question: "?"),
)
"""


def test_every_file_is_listed() -> None:
    """Each once, and each holds a family."""
    files = {path.stem for path in FAMILIES.glob("*.py")} - {"__init__", "family", "known"}
    assert sorted(known.NAMES) == sorted(files)
    assert all(isinstance(family, Family) for family in known.FAMILIES)


def test_no_name_is_given_twice() -> None:
    """Neither of a renderer nor of a parser, and signs and defaults name what exists."""
    renderers = Counter(renderer.name for family in known.FAMILIES for renderer in family.renderers)
    parsers = Counter(parser.name for family in known.FAMILIES for parser in family.parsers)
    assert set(renderers.values()) == set(parsers.values()) == {1}
    for family in known.FAMILIES:
        assert {sign.parser for sign in family.signs} <= parsers.keys()
        if family.create_default is not None:
            assert family.create_default.renderer in renderers and family.create_default.parser in parsers
        if family.go_convention is not None:
            assert family.go_convention.parser in parsers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tev1", "clef"])
def test_a_family_is_one_file_and_one_line(name: str) -> None:
    """These names stand for nothing else, so that they can be looked for."""
    assert spelled_in(name) == {f"chat/families/{name}.py", "chat/families/known.py"}
    assert Path(known.__file__).read_text().count(name) == 1


def test_a_new_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file and a line, and it is found in every way."""
    (tmp_path / "novel.py").write_text(NOVEL)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    source = Path(known.__file__).read_text().replace("NAMES = (\n", 'NAMES = (\n    "novel",\n', 1)
    module = ModuleType("known_with_one_more")
    exec(compile(source, "known.py", "exec"), vars(module))
    assert module.find_renderer("novel-1").render([], [], None) == "novel"
    assert module.find_parser("novel") is module.parser_of_template("a <|novel|> b")
    assert module.create_default("novelarch").parser == "novel"
    assert module.decision_form("novel-1") is not None
    assert module.find_parser("qwen3") is known.find_parser("qwen3")
