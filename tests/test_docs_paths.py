"""Files and folders that the pages for contributors and users name exist, and so do the pages that they link to."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TOP = ("src", "tests", "scripts", "bench", "tiny", "docs")
# Modules anywhere, in diagrams too; other files, and folders with their slash, in backticks, if they begin with a
# folder of ours.
MODULE = re.compile(r"(?<![\w/.<>-])[\w<>/-]+\.py\b")
SPAN = re.compile(r"`([\w<>-]+/(?:[\w<>.-]+/)*(?:[\w<>-]+\.[\w.]+)?)`")
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
# NAME and <family> stand for any name.
ANY = re.compile(r"<\w+>|\bNAME\b")


@cache
def existing() -> frozenset[str]:
    """Every file and folder, and what a page may call it: the end of its path."""
    paths = [path for top in TOP for path in (ROOT / top, *(ROOT / top).rglob("*"))]
    parts = [path.relative_to(ROOT).parts for path in paths if "__pycache__" not in path.parts]
    return frozenset("/".join(each[start:]) for each in parts for start in range(len(each)))


def folders_of_ours() -> set[str]:
    return {*TOP, *(path.name for path in (ROOT / "src" / "corral").iterdir() if path.is_dir())}


def named_in(page: Path) -> set[str]:
    """The paths that a page names."""
    text, ours = page.read_text(), folders_of_ours()
    return {*MODULE.findall(text), *(span for span in SPAN.findall(text) if span.partition("/")[0] in ours)}


def is_there(path: str) -> bool:
    pattern = ANY.sub("*", path.rstrip("/"))
    return pattern in existing() or ("*" in pattern and any(fnmatch(each, pattern) for each in existing()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    """A file that moved moves on the pages as well."""
    missing = sorted(path for path in named_in(page) if not is_there(path))
    assert not missing, f"{page.name} names files that do not exist: {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = sorted({link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()})
    assert not missing, f"{page.name} links to what does not exist: {', '.join(missing)}"


def test_the_search_finds_what_it_should() -> None:
    """Of existing and of missing files."""
    assert {"web/connection.py", "tests/test_layers.py"} <= named_in(ROOT / "docs" / "architecture.md")
    assert is_there("chat/families/NAME.py") and is_there("api/<surface>/routes.py") and is_there("known.py")
    assert not is_there("gowire.py") and not is_there("tests/chat/rendering/cases/")
