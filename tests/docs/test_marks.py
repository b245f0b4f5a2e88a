"""Every example is run or says why not, the reference is that of the routes, and links lead somewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from scripts.site import interoperability, reference
from scripts.site.blocks import DOCS, REASONS, ROOT, RUN, Block, blocks_of, pages
from scripts.site.clients import TESTED

PAGES = [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]
# Blocks that are shown and are no programs.
_SHOWN = {
    "",
    "json",
    "toml",
    "yaml",
    "ini",
    "nginx",
    "caddy",
    "text",
    "diff",
    "html",
    "css",
    "sql",
    "dockerfile",
    "xml",
}
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]*)\)")
_FENCED = re.compile(r"^( *)```.*?^\1```", re.M | re.S)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_runs_or_says_why_not(page: Path) -> None:
    faults = [f"{block.name}: {fault}" for block in blocks_of(page) if (fault := fault_of(block))]
    assert not faults, "\n".join(faults)


def fault_of(block: Block) -> str:
    """What is wrong with the mark of a block ("": nothing)."""
    if block.language not in RUN:
        if block.language not in _SHOWN:
            return f"nobody knows how to run {block.language!r}"
        return "call it console" if re.search(r"^\$ ", block.text, re.M) else ""
    if not block.reason:
        return ""
    if not block.reason.startswith(REASONS):
        return f"{block.reason!r} is no reason of scripts/site/blocks.py"
    _, tested, path = block.reason.partition("tested in ")
    return f"{path} does not exist" if tested and not (ROOT / path).exists() else ""


def test_marks_are_found(tmp_path: Path) -> None:
    """A mark counts for the block after it and no other; blocks may stand in lists."""
    page = DOCS / "unwritten.md"
    text = (
        "<!-- not run: needs root -->\n```sh\na\n```\n\n```sh\nb\n```\n\n- x\n\n  ```go\n  c\n    d\n  ```\n"
    )
    blocks = list(blocks_of(page, text))
    assert [(block.language, block.text, block.reason) for block in blocks] == [
        ("sh", "a\n", "needs root"),
        ("sh", "b\n", ""),
        ("go", "c\n  d\n", ""),
    ]
    assert [block.line for block in blocks] == [2, 6, 12]
    assert fault_of(Block(page, 1, "sh", "x", "too hard"))
    assert fault_of(Block(page, 1, "sh", "x", "tested in tests/nowhere.py"))
    assert fault_of(Block(page, 1, "ruby", "x", ""))
    assert fault_of(Block(page, 1, "", "$ corral list\n", ""))


@pytest.mark.parametrize("path", reference.written(), ids=lambda path: path.name)
def test_the_reference_is_that_of_the_routes(path: Path) -> None:
    """`python -m scripts.site.reference` writes it again."""
    assert path.read_text() == reference.written()[path]


def test_every_route_is_in_the_reference() -> None:
    text = "".join(path.read_text() for path in reference.FOLDER.glob("*.md"))
    for surface in reference.surfaces():
        for route in surface.routes if surface.title else ():
            path = re.sub(r":(\w+)", r"{\1}", route.path)
            assert re.search(rf"^###? {route.methods.split()[0]} {re.escape(path)}$", text, re.M), path


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: dict[str, int] = {}
    names = []
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text())):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.append(f"{slug}-{count}" if count else slug)
    return frozenset(names)


@pytest.mark.parametrize(
    "page", sorted({*PAGES, *DOCS.rglob("*.md")}), ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_and_anchors(page: Path) -> None:
    missing = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text())):
        path, hash_, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = page if not path else (page.parent / path).resolve()
        is_missing = hash_ and target.suffix == ".md" and target.exists() and anchor not in anchors(target)
        if not target.exists() or is_missing:
            missing.append(link)
    assert not missing, missing


def test_the_clients_are_those_of_the_lock_files() -> None:
    """`python -m scripts.site.interoperability` writes the page again."""
    assert interoperability.PAGE.read_text() == interoperability.written()
    for client in TESTED:
        assert (ROOT / "tests" / "clients" / client.tests).exists(), client.tests
