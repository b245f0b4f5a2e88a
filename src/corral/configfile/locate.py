"""On which line of a TOML text each key stands. `tomllib` has read the text before, so it is valid."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

Keys = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def lines_of_keys(text: str) -> dict[Keys, int]:
    """The line, from 1, on which each key and each table is named first."""
    return _Scanner(text).scan()


class _Scanner:
    """A cursor over the text that knows as much of TOML as is needed to find keys."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Keys, int] = {}

    def scan(self) -> dict[Keys, int]:
        table: Keys = ()
        self._skip()
        while self._at < len(self._text):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at + 1
        return match.group() if match else ""

    def _header(self) -> Keys:
        while self._peek() == "[":
            self._at += 1
        keys = self._dotted(())
        while self._peek() == "]":
            self._at += 1
        return keys

    def _dotted(self, table: Keys) -> Keys:
        """Read a key like `a."b c".d`, and note the line of each of its parts."""
        while True:
            self._skip()
            line = self._text.count("\n", 0, self._at) + 1
            if self._peek() in ('"', "'"):
                part = _unquoted(self._take(_STRING))
            else:
                part = self._take(_BARE_KEY)
            table = (*table, part)
            self._lines.setdefault(table, line)
            self._skip()
            if self._peek() != ".":
                return table
            self._at += 1

    def _pair(self, table: Keys) -> None:
        keys = self._dotted(table)
        self._at += 1  # the equals sign
        self._value(keys)

    def _value(self, keys: Keys) -> None:
        self._skip()
        opening = self._peek()
        if opening == "[":
            self._list("]", lambda: self._value(keys))
        elif opening == "{":
            self._list("}", lambda: self._pair(keys))
        elif opening in ('"', "'"):
            self._take(_STRING)
        else:
            self._take(_SCALAR)

    def _list(self, closing: str, read: Callable[[], None]) -> None:
        self._at += 1
        self._skip()
        while self._peek() not in (closing, ""):
            read()
            self._skip()
            if self._peek() == ",":
                self._at += 1
                self._skip()
        self._at += 1


def _unquoted(key: str) -> str:
    if key.startswith("'"):
        return key[1:-1]
    return str(tomllib.loads(f"key = {key}")["key"])
