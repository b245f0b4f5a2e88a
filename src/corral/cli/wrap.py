"""Word wrap for text that arrives in pieces: a word that would pass the edge moves to the next line.

On a terminal the part of the word already printed is taken back. Into a pipe or file nothing is wrapped and no
control sequence is written: what reads it wants the text.
"""

from __future__ import annotations

import shutil
import unicodedata
from typing import TextIO

__all__ = ["WordWrap"]

_MARGIN = 5
_SMALLEST_WIDTH = 10


class WordWrap:
    """`write` takes any cut of the text."""

    def __init__(self, stream: TextIO, *, is_on: bool) -> None:
        self._stream = stream
        width = shutil.get_terminal_size().columns
        self._width = width - _MARGIN
        self._is_on = is_on and stream.isatty() and width >= _SMALLEST_WIDTH
        self._column = 0
        self._word = ""
        self._word_width = 0

    def reset(self) -> None:
        """The cursor is at the start of a line."""
        self._column, self._word, self._word_width = 0, "", 0

    def write(self, text: str) -> None:
        if not self._is_on:
            self._stream.write(text)
            return
        for char in text:
            self._put(char)

    def _put(self, char: str) -> None:
        if char == "\n":
            self._stream.write(char)
            self.reset()
            return
        width = _columns(char)
        if self._column + width > self._width:
            if char == " ":
                self._stream.write("\n")
                self.reset()
                return
            self._break(width)
        self._stream.write(char)
        self._column += width
        if char == " " or width > 1:  # a wide character ends a word: lines may break after it
            self._word, self._word_width = "", 0
        else:
            self._word += char
            self._word_width += width

    def _break(self, width: int) -> None:
        """Start a new line, and take the word under way along unless it fills a line by itself."""
        word, word_width = self._word, self._word_width
        if word and word_width + width <= self._width - _MARGIN and word_width < self._column:
            self._stream.write(f"\x1b[{word_width}D\x1b[K\n{word}")
            self._column = word_width
        else:
            self._stream.write("\n")
            self.reset()


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
