"""Reads values that a model wrote: as JSON, else as what it evidently meant. The one home of repair.

What is mended, since it can mean only one thing: line breaks and other controls in strings, Python's quotes and
constants, escapes that JSON does not have, commas too many or too few, names without quotes, closing brackets of
the wrong kind, and those that are missing at the end of a text that is known to be complete. NaN, infinities and
numbers that no float holds become their text, since JSON cannot hold them. Anything else is a ValueError.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import orjson

# Mending reads letter by letter, on the event loop: about 0.1 s for so many.
MAX_MENDED_CHARS = 1 << 17
_MAX_DEPTH = 100
_MAX_JSON_DEPTH = 200
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# More digits than 64 bits hold: the fast reader would make a float of them.
_LONG_INTEGER = re.compile(r"[0-9]{19}")
_SPACE = " \t\r\n"
_SPACES = re.compile(r"\s*")
_BETWEEN = re.compile(r"[\s,]*")
_TRIPLE = re.compile(r'"""(.*?)"""|' r"'''(.*?)'''", re.DOTALL)
_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|' r"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<unit>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})|(?P<char>.))",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\", "/": "/"}
_NAME = re.compile(r"[A-Za-z_$][\w$.-]*(?=\s*:)")
_WORD = re.compile(r"[-+]?[\w.+-]+")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_MAX_DIGITS = 4000  # Python refuses longer integers
_CONSTANTS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
    "nil": None,
}
_NOT_FINITE = ("NaN", "nan", "Infinity", "-Infinity", "+Infinity", "inf", "-inf")
_CLOSINGS = ")]}"


def parse_json(text: str) -> Any:
    """Return the one value in `text`, which is valid JSON, except that strings may hold raw line breaks and the like.

    Half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError
    """
    value = _loaded(text)
    if text.count("{") + text.count("[") > _MAX_JSON_DEPTH:
        _check_depth(value)
    return _without_surrogates(value) if _HALF_PAIR.search(text) else value


def _loaded(text: str) -> Any:
    if not _LONG_INTEGER.search(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(text, strict=False, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check_depth(value: Any) -> None:
    """Raise ValueError for what our own recursive functions could not follow."""
    level = [value]
    for _ in range(_MAX_JSON_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")


def parse_value(text: str, *, is_complete: bool = True) -> Any:
    """Return the one value in `text`, mended if need be. Without `is_complete` the text may have been cut off.

    Raises:
        ValueError: it is not certain what the text means.
    """
    try:
        return parse_json(text)
    except ValueError:
        if len(text) > MAX_MENDED_CHARS:
            raise
        reader = ValueReader(text, is_complete=is_complete)
        value = reader.value()
        if text[reader.position :].strip(_SPACE + ",;" + _CLOSINGS):
            raise ValueError(f"text after the value at {reader.position}") from None
        return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that no float holds")
    return number


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def constant(word: str) -> Any:
    """The value of a word without quotes: a constant of JSON or Python, a number, else the word itself."""
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _INTEGER.fullmatch(word) and len(word) < _MAX_DIGITS:
        return int(word)
    if _NUMBER.fullmatch(word) and math.isfinite(number := float(word)):
        return number
    return word


class ValueReader:
    """Reads one value from `position` on, and stands after it then.

    `is_complete`: nothing of the text is missing, so that open brackets at its end are closed there.
    """

    def __init__(self, text: str, position: int = 0, *, is_complete: bool = True) -> None:
        self.text = text
        self.position = position
        self._is_complete = is_complete
        self._open: list[str] = []

    def value(self) -> Any:
        """Raises ValueError."""
        if len(self._open) > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        self.skip(_SPACES)
        match self.text[self.position : self.position + 1]:
            case '"' | "'":
                return self.string()
            case "[":
                return self._list()
            case "{":
                return self._object()
        return self.word()

    def skip(self, spaces: re.Pattern[str] = _BETWEEN) -> None:
        """Go over white space and commas."""
        found = spaces.match(self.text, self.position)
        assert found is not None  # the pattern matches the empty text
        self.position = found.end()

    def string(self) -> str:
        """Raises ValueError: it never ends."""
        if triple := _TRIPLE.match(self.text, self.position):
            self.position = triple.end()
            return _without_escapes(triple[1] if triple[1] is not None else triple[2])
        match = self.match(_STRING, "the end of a string")
        return _without_escapes(match[1] if match[1] is not None else match[2])

    def match(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        """Take what `pattern` matches here. Raises ValueError."""
        match = pattern.match(self.text, self.position)
        if match is None:
            raise ValueError(f"expected {wanted} at {self.position}")
        self.position = match.end()
        return match

    def word(self) -> Any:
        """A value without quotes. Raises ValueError."""
        word = self.match(_WORD, "a value")[0]
        value = constant(word)
        if not isinstance(value, str) or word in _NOT_FINITE or _NUMBER.fullmatch(word):
            return value
        raise ValueError(f"unknown word at {self.position}")

    def _list(self) -> list[Any]:
        items = []
        self._begin("]")
        while not self._ends():
            items.append(self.value())
        return items

    def _object(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self._begin("}")
        while not self._ends():
            if self.text[self.position] in "\"'":
                name = self.string()
            else:
                name = self.match(_NAME, "a name")[0]
            self.skip(_SPACES)
            if self.text[self.position : self.position + 1] != ":":
                raise ValueError(f"expected ':' at {self.position}")
            self.position += 1
            members[name] = self.value()
        return members

    def _begin(self, closing: str) -> None:
        self._open.append(closing)
        self.position += 1

    def _ends(self) -> bool:
        """Go to the next member; whether there is none. A bracket that closes what is around ends this too."""
        self.skip()
        char = self.text[self.position : self.position + 1]
        if char and char not in _CLOSINGS:
            return False
        if not char and not self._is_complete:
            raise ValueError(f"expected {self._open[-1]!r}")
        closing = self._open.pop()
        if char == closing or char not in self._open:
            self.position += len(char)
        return True


def _without_escapes(text: str) -> str:
    return _without_surrogates(_ESCAPE.sub(_unescape, text) if "\\" in text else text)  # type: ignore[no-any-return]


def _unescape(match: re.Match[str]) -> str:
    if high := match["high"]:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(match["low"], 16) - 0xDC00)
    if code := match["unit"] or match["byte"]:
        return chr(int(code, 16))
    return _ESCAPES.get(match["char"], match[0])
