"""The fenced blocks of the pages, and what the comment before a block says about running it.

A block of a language in `RUN` is run by tests/docs, unless the line before it is `<!-- not run: REASON -->`. A
reason begins with one of `REASONS`. Blocks between `<!-- tabs -->` and `<!-- /tabs -->` say the same in several
languages, and are tabs on the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Languages whose blocks are programs; the names on the right are those that tests/docs has a way to run.
RUN = {
    "sh": "shell",
    "bash": "shell",
    "shell": "shell",
    "console": "console",
    "python": "python",
    "py": "python",
    "js": "node",
    "javascript": "node",
    "ts": "node",
    "go": "go",
}
REASONS = (
    "needs root",
    "needs a GPU",
    "needs the internet",
    "needs an account",
    "needs other machines",
    "needs another program",
    "needs a browser",
    "needs an audio model",
    "installs packages",
    "takes long",
    "tested in ",
)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.M | re.S
)
_MARK = re.compile(r"<!-- not run: (?P<reason>[^\n]*?) -->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line` counts from 1; `reason` says why it is not run ("": it is)."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The pages whose examples are run: the README and all of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def blocks_of(page: Path, text: str | None = None) -> Iterator[Block]:
    """The fenced blocks of a page, in order; of `text` if it is given."""
    text = page.read_text(encoding="utf-8") if text is None else text
    for found in _FENCE.finditer(text):
        mark = _MARK.search(text, 0, found.start())
        indent = len(found["indent"])
        lines = [line[indent:] for line in found["text"].splitlines(keepends=True)]
        yield Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            "".join(lines),
            mark["reason"] if mark else "",
        )


def programs(kind: str) -> list[Block]:
    """The blocks of all pages that are run in this way: a value of `RUN`."""
    found = [block for page in pages() for block in blocks_of(page)]
    return [block for block in found if RUN.get(block.language) == kind and not block.reason]
