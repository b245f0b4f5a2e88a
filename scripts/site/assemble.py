"""Makes Sphinx's source folder: the pages, with links between them, tabs, and lists of what belongs under them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath

from scripts.site.blocks import DOCS, ROOT
from scripts.site.nav import LISTED_ELSEWHERE, MORE_PAGES, NAVIGATION, REFERENCE

_FENCED = re.compile(r"^( *)(```+).*?^\1\2`*$", re.M | re.S)
_SPAN = re.compile(r"(`+)(?:(?!\1).)+\1")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_MARK = re.compile(r"^ *<!-- not run: .*? -->\n", re.M)
_TABS = re.compile(r"<!-- tabs(?:: (?P<labels>[^\n]*?))? -->\n(?P<body>.*?)<!-- /tabs -->\n", re.S)
_BLOCK = re.compile(r"```(?P<language>\w*)\n.*?```\n", re.S)
_LABELS = {"sh": "Shell", "python": "Python", "js": "JavaScript", "go": "Go", "toml": "TOML", "yaml": "YAML"}


def assemble(folder: Path) -> None:
    """Write the source of the site to a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    places = page_places()
    for source, target in places.items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / source).read_text(encoding="utf-8")
        text = with_tabs(_MARK.sub("", text))
        text = with_links(text, PurePosixPath(source), target, places)
        path.write_text(text + lists_under(target, places), encoding="utf-8")
    for image in (*DOCS.rglob("*.png"), *DOCS.rglob("*.svg"), *DOCS.rglob("*.webp")):
        path = folder / image.relative_to(DOCS)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, path)
    front = (Path(__file__).parent / "theme" / "index.md").read_text(encoding="utf-8")
    (folder / "index.md").write_text(f"{front}\n{navigation(places)}", encoding="utf-8")


def page_places() -> dict[str, str]:
    """Files of the repository that become pages, with their place on the site."""
    found = {str(page.relative_to(ROOT)): str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md"))}
    found |= {source: target for source, target in MORE_PAGES.items() if (ROOT / source).exists()}
    found |= {
        str(page.relative_to(ROOT)): f"examples/{page.parent.name}.md"
        for page in sorted((ROOT / "examples").glob("*/README.md"))
    }
    return found


def navigation(places: dict[str, str]) -> str:
    """The lists of the sidebar. A page that nobody put into `NAVIGATION` comes last."""
    pages = [target.removesuffix(".md") for target in places.values()]
    named = {name for _, names in NAVIGATION for name in names}
    rest = [page for page in pages if page not in named and not page.startswith(LISTED_ELSEWHERE)]
    groups = [(caption, [name for name in names if name in pages]) for caption, names in NAVIGATION]
    groups[-1][1].extend(rest)
    return "\n".join(_toctree(names, caption) for caption, names in groups)


def _toctree(names: list[str], caption: str = "") -> str:
    heading = f":caption: {caption}\n" if caption else ""
    return "```{toctree}\n:hidden:\n:maxdepth: 1\n" + heading + "\n" + "\n".join(names) + "\n```\n"


def lists_under(target: str, places: dict[str, str]) -> str:
    """What the sidebar shows under a page: the decisions, the parts of the reference, the examples."""
    folder = {
        "decisions/README.md": "decisions/",
        "reference/README.md": "reference/",
        "examples.md": "examples/",
    }.get(target)
    if folder is None:
        return ""
    under = [page for page in places.values() if page.startswith(folder) and page != target]
    start = "" if target.startswith(folder) else folder
    if target.startswith("reference/"):
        under.sort(key=REFERENCE.index)
    names = [start + page.removeprefix(folder).removesuffix(".md") for page in under]
    return f"\n{_toctree(names)}"


def with_links(text: str, source: PurePosixPath, target: str, places: dict[str, str]) -> str:
    """Links lead to pages of the site; what is not a page (a source file, a folder) is named instead."""

    def change(found: re.Match[str]) -> str:
        mark, words, link = found.groups()
        if "://" in link or link.startswith(("#", "mailto:")):
            return found[0]
        path, hash_, anchor = link.partition("#")
        named = os.path.normpath(source.parent / path)
        if mark:
            return f"![{words}]({_relative(str(Path(named).relative_to('docs')), target)})"
        if named not in places and f"{named}/README.md" in places:
            named = f"{named}/README.md"
        if named in places:
            return f"[{words}]({_relative(places[named], target)}{hash_}{anchor})"
        if named == "README.md":
            return f"[{words}]({_relative('index.md', target)})"
        if not (ROOT / named).exists():
            raise ValueError(f"{source} links to {link}, which does not exist")
        return words if named in words else f"{words} (`{named}`)"

    return _outside_of_code(text, lambda part: _LINK.sub(change, part))


def _relative(path: str, start: str) -> str:
    return os.path.relpath(path, PurePosixPath(start).parent)


def _outside_of_code(text: str, change: object) -> str:
    """Change what is neither in a fenced block nor in a span of code."""
    parts, at = [], 0
    assert callable(change)
    for found in sorted([*_FENCED.finditer(text), *_SPAN.finditer(text)], key=lambda found: found.start()):
        if found.start() < at or (found[0].startswith("`") and _is_label(text, found)):
            continue
        parts += [change(text[at : found.start()]), found[0]]
        at = found.end()
    return "".join([*parts, change(text[at:])])


def _is_label(text: str, found: re.Match[str]) -> bool:
    """Code that is the text of a link: `[`code`](link)`."""
    return text[found.start() - 1 : found.start()] == "[" and text[found.end() : found.end() + 2] == "]("


def with_tabs(text: str) -> str:
    """Blocks between the marks become tabs; all groups of languages switch together."""

    def change(found: re.Match[str]) -> str:
        blocks = list(_BLOCK.finditer(found["body"]))
        given = [label.strip() for label in (found["labels"] or "").split(",") if label.strip()]
        labels = given or [_label(block) for block in blocks]
        items = [
            f":::{{tab-item}} {label}\n:sync: {label}\n\n{block[0]}:::\n"
            for label, block in zip(labels, blocks, strict=True)
        ]
        return "::::{tab-set}\n\n" + "\n".join(items) + "::::\n"

    return _TABS.sub(change, text)


def _label(block: re.Match[str]) -> str:
    is_curl = block["language"] == "sh" and block[0].splitlines()[1].startswith("curl ")
    return "curl" if is_curl else _LABELS[block["language"]]
