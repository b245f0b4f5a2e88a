"""Finds where a JSON object ends in a text that is still growing, looking at every character once."""

from __future__ import annotations

import re

_IN_STRING = re.compile(r'["\\]')
_IN_OBJECT = re.compile(r'["{}]')
_IN_LIST = re.compile(r"[\[\]{]")
_OUTSIDE = re.compile(r"\{")


class ObjectScanner:
    """`start` is where the object begins, counted in characters since the scanner was made, plus `offset`.

    With `counts_brackets`, it also stops, with `is_list_end`, where a `[` outside of objects is closed.
    Strings count inside of objects only; what the braces enclose need not be JSON.
    """

    def __init__(self, offset: int = 0, *, counts_brackets: bool = False) -> None:
        self.start = 0
        self.is_list_end = False
        self._offset = offset
        self._outside = _IN_LIST if counts_brackets else _OUTSIDE
        self._braces = 0
        self._brackets = 0
        self._is_string = False
        self._is_escaped = False

    @property
    def has_begun(self) -> bool:
        """Whether an object is open."""
        return self._braces > 0

    def scan(self, text: str, position: int, limit: int) -> int | None:
        """Return the position after the object that ends in `text[position:limit]`; None if none does."""
        begin = position
        while position < limit:
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            pattern = _IN_STRING if self._is_string else _IN_OBJECT if self._braces else self._outside
            match = pattern.search(text, position, limit)
            if match is None:
                break
            position = match.end()
            if self._take(match[0], self._offset + match.start() - begin):
                self._offset += position - begin
                return position
        self._offset += limit - begin
        return None

    def _take(self, char: str, at: int) -> bool:
        """Follow one character; whether it ends an object or the list."""
        match char:
            case "\\":
                self._is_escaped = True
            case '"':
                self._is_string = not self._is_string
            case "{":
                if self._braces == 0:
                    self.start = at
                self._braces += 1
            case "}":
                self._braces -= 1
                return self._braces == 0
            case "[":
                self._brackets += 1
            case "]":
                self._brackets -= 1
                self.is_list_end = self._brackets == 0
                return self.is_list_end
        return False
