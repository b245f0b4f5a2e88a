"""Reads JSON that a model wrote; faults carry the texts of Go's decoder, which clients see.

Numbers stay exact as far as they can. Refuses what Go refuses, and nesting deeper than the fast decoder takes.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

__all__ = ["parse_json"]

_SPACE = " \t\r\n"
_ESCAPES = '"\\/bfnrtu'
_MAX_DEPTH = 1000
_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def parse_json(text: str) -> Any:
    """Return the one value in `text`.

    Raises:
        ValueError: with Go's text (encoding/json: scanner.go).
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        _Checker(text).check()
    # Sound for Go, not for orjson: half a surrogate pair.
    try:
        return _without_surrogates(json.loads(text))
    except RecursionError:
        raise ValueError("exceeded max depth") from None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _quoted(char: str) -> str:
    """A character as Go shows it: the first byte of its UTF-8 form, in single quotes."""
    if char == "'":
        return r"'\''"
    if char == '"':
        return "'\"'"
    byte = chr(char.encode("utf-8", "replace")[0])
    named = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\b": r"\b", "\f": r"\f", "\\": r"\\"}
    shown = named.get(byte) or {"\a": r"\a", "\v": r"\v"}.get(byte)
    if shown is None:
        code = ord(byte)
        shown = (
            f"\\x{code:02x}"
            if code < 0x20 or code == 0x7F
            else byte
            if byte.isprintable()
            else f"\\u{code:04x}"
        )
    return f"'{shown}'"


class _Checker:
    """Walks a text that is not sound JSON to the character where Go stops."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def check(self) -> None:
        """Raise for the first fault; return if Go would find none."""
        self._value()
        if (char := self._peek()) is not None:
            self._fail(char, "after top-level value")

    def _fail(self, char: str | None, where: str) -> None:
        if char is None:
            raise ValueError("unexpected end of JSON input")
        raise ValueError(f"invalid character {_quoted(char)} {where}")

    def _char(self) -> str | None:
        return self._text[self._at] if self._at < len(self._text) else None

    def _peek(self) -> str | None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1
        return self._char()

    def _value(self) -> None:
        """Check one value. Not recursive: the text is a model's."""
        open_ends: list[str] = []
        while True:
            char = self._peek()
            if char in ("{", "["):
                self._at += 1
                end = "}" if char == "{" else "]"
                if self._peek() == end:
                    self._at += 1
                else:
                    open_ends.append(end)
                    if len(open_ends) > _MAX_DEPTH:
                        raise ValueError("exceeded max depth")
                    if end == "}":
                        self._name("looking for beginning of object key string")
                    continue
            else:
                self._scalar(char)
            while open_ends and self._peek() == open_ends[-1]:
                self._at += 1
                open_ends.pop()
            if not open_ends:
                return
            self._comma(is_object=open_ends[-1] == "}")

    def _comma(self, *, is_object: bool) -> None:
        if (char := self._peek()) != ",":
            self._fail(char, "after object key:value pair" if is_object else "after array element")
        self._at += 1
        if is_object:
            self._peek()
            self._name("looking for beginning of object key string")

    def _name(self, where: str) -> None:
        if (char := self._peek()) != '"':
            self._fail(char, where)
        self._string()
        if (char := self._peek()) != ":":
            self._fail(char, "after object key")
        self._at += 1

    def _scalar(self, char: str | None) -> None:
        if char == '"':
            self._string()
        elif char is not None and char in "tfn":
            self._literal({"t": "true", "f": "false", "n": "null"}[char])
        elif char is not None and char in "-0123456789":
            self._number()
        else:
            self._fail(char, "looking for beginning of value")

    def _literal(self, word: str) -> None:
        for i, expected in enumerate(word):
            if (char := self._char()) != expected:
                shown = f"in literal {word} (expecting {_quoted(expected)})"
                self._fail(char, shown if i else "looking for beginning of value")
            self._at += 1

    def _string(self) -> None:
        self._at += 1
        while (char := self._char()) != '"':
            if char is None or char < " ":
                self._fail(char, "in string literal")
            self._at += 1
            if char != "\\":
                continue
            if (char := self._char()) is None or char not in _ESCAPES:
                self._fail(char, "in string escape code")
            self._at += 1
            for _ in range(4 if char == "u" else 0):
                if (char := self._char()) is None or char not in "0123456789abcdefABCDEF":
                    self._fail(char, r"in \u hexadecimal character escape")
                self._at += 1
        self._at += 1

    def _number(self) -> None:
        match = _NUMBER.match(self._text, self._at)
        end = self._at + 1 if match is None else match.end()
        after = self._text[end : end + 1] or None
        if match is None:
            self._fail(after, "in numeric literal")
            return
        if after == "." and match[2] is None and match[3] is None:
            self._fail(self._text[end + 1 : end + 2] or None, "after decimal point in numeric literal")
        if after in ("e", "E") and match[3] is None:
            sign = 1 if self._text[end + 1 : end + 2] in ("+", "-") else 0
            self._fail(self._text[end + 1 + sign : end + 2 + sign] or None, "in exponent of numeric literal")
        if abs(float(match[0])) == float("inf"):
            raise ValueError(f"json: cannot unmarshal number {match[0]} into Go value of type float64")
        self._at = end
