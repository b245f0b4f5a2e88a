"""How the site's source is made of the pages, and what the scripts beside it print and draw."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from xml.etree import ElementTree

import pytest

from scripts.newest_clients import results, table
from scripts.site.assemble import lists_under, navigation, page_places, with_links, with_tabs
from scripts.site.blocks import ROOT
from scripts.terminal_recording import Frame, draw

PLACES = {
    "docs/cli.md": "cli.md",
    "docs/decisions/README.md": "decisions/README.md",
    "CONTRIBUTING.md": "contributing.md",
}


@pytest.mark.parametrize(
    ("written", "source", "target", "made"),
    [
        ("[a](cli.md#commands)", "docs/web.md", "web.md", "[a](cli.md#commands)"),
        ("[a](../cli.md)", "docs/decisions/0001.md", "decisions/0001.md", "[a](../cli.md)"),
        ("[a](docs/cli.md)", "CONTRIBUTING.md", "contributing.md", "[a](cli.md)"),
        ("[a](docs/decisions)", "CONTRIBUTING.md", "contributing.md", "[a](decisions/README.md)"),
        ("[a](../README.md)", "docs/web.md", "web.md", "[a](index.md)"),
        ("[a](#here)", "docs/web.md", "web.md", "[a](#here)"),
        ("[a](https://example.com/)", "docs/web.md", "web.md", "[a](https://example.com/)"),
        ("[the table](../pyproject.toml)", "docs/web.md", "web.md", "the table (`pyproject.toml`)"),
        ("[deploy/systemd](../deploy/systemd)", "docs/web.md", "web.md", "deploy/systemd"),
        ("[`serve`](cli.md) and `[x](y)`", "docs/web.md", "web.md", "[`serve`](cli.md) and `[x](y)`"),
        (
            "```\n[a](nowhere)\n```\n[a](cli.md)",
            "docs/web.md",
            "web.md",
            "```\n[a](nowhere)\n```\n[a](cli.md)",
        ),
        ("![a](docs/images/terminal.svg)", "CONTRIBUTING.md", "contributing.md", "![a](images/terminal.svg)"),
    ],
)
def test_links(written: str, source: str, target: str, made: str) -> None:
    """Pages link to pages; files of the repository are named; code is left alone."""
    assert with_links(written, PurePosixPath(source), target, PLACES) == made


def test_a_link_to_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.md"):
        with_links("[a](nowhere.md)", PurePosixPath("docs/web.md"), "web.md", PLACES)


def test_tabs() -> None:
    """By language, or with the names that the mark gives; other blocks stay as they are."""
    blocks = "```sh\ncurl x\n```\n\n```python\nx\n```\n"
    made = with_tabs(f"<!-- tabs -->\n\n{blocks}\n<!-- /tabs -->\n")
    assert [line for line in made.splitlines() if "tab-item" in line] == [
        ":::{tab-item} curl",
        ":::{tab-item} Python",
    ]
    assert "```sh\ncurl x\n```\n:::" in made
    named = with_tabs(f"<!-- tabs: pip, uv -->\n{blocks}<!-- /tabs -->\n")
    assert ":::{tab-item} pip\n:sync: pip" in named and ":::{tab-item} uv" in named
    assert with_tabs(blocks) == blocks
    with pytest.raises(ValueError):
        with_tabs(f"<!-- tabs: pip -->\n{blocks}<!-- /tabs -->\n")


def test_every_page_is_listed_once() -> None:
    """In the sidebar, or under the page that it belongs to."""
    places = page_places()
    names = listed(navigation(places))
    for target in places.values():
        folder = PurePosixPath(target).parent
        names += [str(folder / name) for name in listed(lists_under(target, places))]
    assert Counter(names) == Counter(page.removesuffix(".md") for page in places.values())


def listed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(("```", ":"))]


def test_results_of_the_newest_clients() -> None:
    """A failure, an error of a fixture and a skip are counted apart, by the file of the test."""
    report = """<testsuites><testsuite>
    <testcase classname="tests.clients.test_node" name="a"/>
    <testcase classname="tests.clients.test_node" name="b"><failure/></testcase>
    <testcase classname="tests.clients.test_llm" name="c"><error/></testcase>
    <testcase classname="tests.clients.test_llm" name="d"><skipped/></testcase>
    </testsuite></testsuites>"""
    went = results(report)
    assert went["test_node.py"] == {"passed": 1, "failed": 1}
    assert went["test_llm.py"] == {"failed": 1, "skipped": 1}
    lines = table({("npm", "ai"): "1.0"}, {("npm", "ai"): "2.0"}, went).splitlines()
    assert lines[0].split() == ["CLIENT", "LOCKED", "NEWEST", "TESTS"]
    assert next(line for line in lines if line.startswith("ai (npm)")).split() == (
        "ai (npm) 1.0 2.0 1 passed, 1 failed".split()
    )
    assert next(line for line in lines if line.startswith("litellm")).split()[-2:] == ["not", "run"]


def test_a_recording_is_an_image() -> None:
    """Equal lines are written once; the last frame is what stands still; all time is used."""
    frames = [Frame(("$ a", ""), 1.0), Frame(("$ a", "<tspan>&lt;b&gt;</tspan>"), 3.0)]
    tree = ElementTree.fromstring(draw(frames))
    name = "{http://www.w3.org/2000/svg}"
    assert len(list(tree.iter(f"{name}text"))) == 2
    assert len(list(tree.iter(f"{name}use"))) == 3
    style = next(tree.iter(f"{name}style")).text or ""
    assert "play 4.0s" in style and "25.00%{" in style and "prefers-reduced-motion" in style


def test_the_images_are_small_and_ask_nobody() -> None:
    for file in (ROOT / "docs" / "images").iterdir():
        assert file.stat().st_size < 150_000, file
    text = (ROOT / "docs" / "images" / "terminal.svg").read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
