"""Calls written like Python: `f(a="x", n=[1, None])`, one or more, with or without brackets around them.

Names of constants may be JSON's. A bare word is a string. Ollama: model/parsers/olmo3.go, lfm2.go.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["parse_python_calls"]

_NAME = re.compile(r"\s*([\w.\-/]+)\s*\(")
_KEY = re.compile(r"\s*([^\s=,()]+)\s*=\s*")
_STRING = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_CONSTANTS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
    "nil": None,
}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MAX_DEPTH = 100


def parse_python_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls in `text`, separated by commas or line breaks.

    Raises:
        ValueError: anything else in the text.
    """
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    reader = _Reader(text)
    calls = []
    while not reader.is_at_end():
        calls.append(reader.call())
        reader.skip(", \t\r\n;")
    return calls


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._has_strings = True

    def is_at_end(self) -> bool:
        self.skip(" \t\r\n")
        return self._at >= len(self._text)

    def skip(self, chars: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in chars:
            self._at += 1

    def call(self) -> tuple[str, dict[str, Any]]:
        name = self._match(_NAME, "a call")[1]
        arguments: dict[str, Any] = {}
        while True:
            self.skip(", \t\r\n")
            if self._peek() == ")":
                self._at += 1
                return name, arguments
            key = self._match(_KEY, "an argument")[1]
            arguments[key] = self._value(_MAX_DEPTH)

    def _match(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"expected {wanted} at {self._at}")
        self._at = match.end()
        return match

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> Any:
        if depth == 0:
            raise ValueError("nested too deeply")
        self.skip(" \t\r\n")
        char = self._peek()
        if char in ('"', "'") and char:
            return self._string()
        if char == "[":
            return self._list(depth)
        if char == "{":
            return self._dict(depth)
        return _constant(self._bare())

    def _string(self) -> str:
        match = self._match(_STRING, "the end of a string")
        return _ESCAPE.sub(_unescape, match[1] if match[1] is not None else match[2])

    def _list(self, depth: int) -> list[Any]:
        self._at += 1
        items = []
        while not self._closes("]"):
            items.append(self._value(depth - 1))
        return items

    def _dict(self, depth: int) -> dict[str, Any]:
        self._at += 1
        members: dict[str, Any] = {}
        while not self._closes("}"):
            key = self._string() if self._peek() in ('"', "'") else self._bare(":")
            self.skip(" \t\r\n")
            if self._peek() != ":":
                raise ValueError(f"expected ':' at {self._at}")
            self._at += 1
            members[key] = self._value(depth - 1)
        return members

    def _closes(self, closing: str) -> bool:
        self.skip(", \t\r\n")
        if self._at >= len(self._text):
            raise ValueError(f"expected {closing!r}")
        if self._peek() != closing:
            return False
        self._at += 1
        return True

    def _bare(self, ends: str = ",") -> str:
        """The text up to a comma or closing bracket that belongs to what is around it."""
        start = self._at
        open_ends: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "\"'" and self._has_strings:
                if match := _STRING.match(self._text, self._at):
                    self._at = match.end()
                    continue
                self._has_strings = (
                    False  # one that never ends; looking again would cost the rest of the text
                )
            if open_ends and char == open_ends[-1]:
                open_ends.pop()
            elif char in _CLOSING:
                open_ends.append(_CLOSING[char])
            elif not open_ends and (char in ends or char in ")]}"):
                break
            self._at += 1
        found = self._text[start : self._at].strip()
        if not found:
            raise ValueError(f"expected a value at {start}")
        return found


def _unescape(match: re.Match[str]) -> str:
    char = match[1]
    if len(char) > 1:
        code = int(char[1:], 16)
        return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"
    return _ESCAPES.get(char, char if char in "\"'\\" else match[0])


def _constant(word: str) -> Any:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _INTEGER.fullmatch(word):
        return int(word)
    if _NUMBER.fullmatch(word) and abs(number := float(word)) != float("inf"):
        return number
    return word
