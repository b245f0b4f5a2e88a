"""Markdown rendered block by block: a block is printed as soon as it is complete, so responses still stream."""

from __future__ import annotations

import re
import sys

from rich.console import Console
from rich.markdown import Markdown

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# Lists and tables are rendered whole: empty lines may separate the items of a list.
_GOES_ON = re.compile(r"\s+\S|[-*+] |\d+[.)] |\|")


class MarkdownPrinter:
    """`feed` takes the text in pieces of any size; `finish` prints the rest."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False)
        self._partial = ""
        self._block: list[str] = []
        self._fence = ""
        self._is_first = True

    def feed(self, text: str) -> None:
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._take(line)

    def finish(self) -> None:
        if self._partial:
            self._take(self._partial)
            self._partial = ""
        self._print()

    def _take(self, line: str) -> None:
        ends_block = self._block and not self._block[-1].strip() and not self._fence
        if ends_block and line.strip() and not (_GOES_ON.match(line) and _GOES_ON.match(self._block[0])):
            self._print()
        self._block.append(line)
        if match := _FENCE.match(line):
            if not self._fence:
                self._fence = match[1]
            elif match[1].startswith(self._fence):
                self._fence = ""
                self._print()

    def _print(self) -> None:
        text = "\n".join(self._block).strip("\n")
        self._block.clear()
        self._fence = ""
        if not text:
            return
        if not self._is_first:
            self._console.print()
        self._is_first = False
        self._console.print(Markdown(text, hyperlinks=False))
