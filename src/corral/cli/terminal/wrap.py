"""Word wrap for text that arrives in pieces: a word that does not fit moves to the next line.

On a terminal the printed part of such a word is erased. In a pipe or file nothing is wrapped and no control sequence
is written.
"""

from __future__ import annotations

from typing import TextIO

from corral.cli.terminal.screen import terminal_size

_MARGIN = 5
_SMALLEST_WIDTH = 10
_TAB = 8
_JOINER = "\u200d"  # makes one emoji of two
_SKIN_TONES = range(0x1F3FB, 0x1F400)


class WordWrap:
    """`write` takes the text in pieces of any size."""

    def __init__(self, stream: TextIO, *, is_on: bool, width: int = 0) -> None:
        self._stream = stream
        self._fixed_width = width
        self._is_on = is_on and (bool(width) or stream.isatty())
        self._width = 0
        self._out: list[str] = []
        self.reset()

    def reset(self) -> None:
        """The cursor is at the start of a line."""
        self._column, self._word, self._word_width = 0, "", 0
        self._is_joined = False

    def write(self, text: str) -> None:
        columns = self._fixed_width or (terminal_size(self._stream)[0] if self._is_on else 0)
        if not self._is_on or columns < _SMALLEST_WIDTH:
            self._stream.write(text)
            return
        self._width = columns - _MARGIN
        for char in text:
            self._put(char)
        self._stream.write("".join(self._out))
        self._out.clear()

    def _put(self, char: str) -> None:
        if char == "\n":
            self._out.append(char)
            self.reset()
            return
        width = _TAB - self._column % _TAB if char == "\t" else 0 if self._is_joined else _columns(char)
        self._is_joined = char == _JOINER
        if self._column + width > self._width:
            if char in " \t":
                self._out.append("\n")
                self.reset()
                return
            if width:  # a combining mark stays with the character it belongs to
                self._break(width)
        self._out.append(char)
        self._column += width
        if not width and not self._word:
            return  # it belongs to a wide character and stays on its line
        if char in " \t" or width > 1:  # a wide character ends a word: lines may break after it
            self._word, self._word_width = "", 0
        else:
            self._word += char
            self._word_width += width

    def _break(self, width: int) -> None:
        """Start a new line and move the current word to it, unless the word fills a line by itself."""
        word, word_width = self._word, self._word_width
        if word and word_width + width <= self._width - _MARGIN and word_width < self._column:
            self._out.append(f"\x1b[{word_width}D\x1b[K\n{word}" if word_width else f"\n{word}")
            self._column = word_width
        else:
            self._out.append("\n")
            self.reset()


def _columns(char: str) -> int:
    if char < "\x7f":
        return 1
    if ord(char) in _SKIN_TONES:
        return 0
    from wcwidth import wcwidth

    return max(wcwidth(char), 0)
