"""Calls in Gemma's form: `call:NAME{key:value,…}`, its strings between delimiters of the family.

Reads strictly first; then repairs what these models get wrong: strings that are not closed or stand in single
quotes, and missing closing brackets. Ollama: model/parsers/gemma4.go, functiongemma.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corral.chat.parsing.calls import Calls, read_calls
from corral.chat.parsing.values import parse_json
from corral.types import Tool

# Where the result of a call begins; the models repeat it after a call.
GEMMA_RESPONSE = "<|tool_response>"
_CALL = re.compile(r"\s*call:([^{]*)\{", re.DOTALL)
_KEY = re.compile(r"[^:,{}\[\]]*")
_BARE_END = re.compile(r"[,}\]]")
# In a text without quotes, a comma that no other member follows belongs to the text.
_REPAIRED_END = re.compile(r",\s*\w+\s*:|[}\]]")
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_MAX_DEPTH = 100


def read_gemma_calls(body: str, delimiter: str, tools: Sequence[Tool], *, is_complete: bool) -> Calls | None:
    """One or more calls in Gemma's form, or in another."""
    found, rest = Calls(), body
    try:
        while not found.calls or rest.lstrip().startswith("call:"):
            name, arguments, rest = parse_gemma_call(rest, delimiter)
            found.calls.append((name, arguments))
    except ValueError:
        if not found.calls:
            return read_calls(body, tools, is_complete=is_complete)
    found.strays = rest.strip().lstrip("}").strip()
    return found


def parse_gemma_call(text: str, delimiter: str) -> tuple[str, dict[str, Any], str]:
    """Return name, arguments, and the text after the call.

    Raises:
        ValueError: no call, not even after repair.
    """
    match = _CALL.match(text)
    if match is None:
        raise ValueError("expected 'call:NAME{'")
    name = match[1].strip()
    try:
        reader = _Reader(text, match.end() - 1, delimiter, is_repairing=False)
        arguments = reader.read_object(_MAX_DEPTH)
    except ValueError:
        reader = _Reader(text, match.end() - 1, delimiter, is_repairing=True)
        arguments = reader.read_object(_MAX_DEPTH)
    return name, arguments, text[reader.position :]


class _Reader:
    def __init__(self, text: str, position: int, delimiter: str, *, is_repairing: bool) -> None:
        self._text = text
        self.position = position
        self._delimiter = delimiter
        self._is_repairing = is_repairing

    def read_object(self, depth: int) -> dict[str, Any]:
        self.position += 1
        members: dict[str, Any] = {}
        while not self._closes("}"):
            key = self._read_key()
            self._skip_space()
            if self._text[self.position : self.position + 1] != ":":
                raise ValueError(f"expected ':' at {self.position}")
            self.position += 1
            members[key] = self._read_value(depth - 1)
        return members

    def _read_list(self, depth: int) -> list[Any]:
        self.position += 1
        items = []
        while not self._closes("]"):
            start = self.position
            items.append(self._read_value(depth - 1))
            if self.position == start:
                raise ValueError(f"expected a value at {start}")
        return items

    def _closes(self, closing: str) -> bool:
        """Skip to the next member; whether there is none."""
        while self.position < len(self._text) and self._text[self.position] in ", \t\r\n":
            self.position += 1
        if self.position >= len(self._text):
            if self._is_repairing:
                return True
            raise ValueError(f"expected {closing!r}")
        if self._text[self.position] != closing:
            return False
        self.position += 1
        return True

    def _skip_space(self) -> None:
        while self.position < len(self._text) and self._text[self.position].isspace():
            self.position += 1

    def _read_key(self) -> str:
        if self._text.startswith(self._delimiter, self.position):
            return self._read_delimited()
        if self._text[self.position] == '"':
            return self._read_quoted('"')
        match = _KEY.match(self._text, self.position)
        assert match is not None  # the pattern matches the empty text
        if not match[0].strip():
            raise ValueError(f"expected a key at {self.position}")
        self.position = match.end()
        return match[0].strip()

    def _read_value(self, depth: int) -> Any:
        if depth == 0:
            raise ValueError("nested too deeply")
        self._skip_space()
        if self._text.startswith(self._delimiter, self.position):
            return self._read_delimited()
        match self._text[self.position : self.position + 1]:
            case "{":
                return self.read_object(depth)
            case "[":
                return self._read_list(depth)
            case '"':
                return self._read_quoted('"')
            case "'":
                if not self._is_repairing:
                    raise ValueError("a string in single quotes")
                return self._read_single_quoted()
        return self._read_bare()

    def _read_delimited(self) -> str:
        start = self.position + len(self._delimiter)
        end = self._text.find(self._delimiter, start)
        if end >= 0:
            self.position = end + len(self._delimiter)
            return self._text[start:end]
        if not self._is_repairing:
            raise ValueError("a string that never ends")
        rest = self._text[start:].rstrip()
        if rest.endswith(("}", "]")):
            rest = rest[:-1]
        self.position = len(self._text)
        return rest

    def _read_quoted(self, quote: str) -> str:
        end = self._end_of_quotes(quote)
        value = parse_json(self._text[self.position : end])
        self.position = end
        return str(value)

    def _read_single_quoted(self) -> str:
        end = self._end_of_quotes("'")
        value = self._text[self.position + 1 : end - 1]
        self.position = end
        if self._text.startswith(self._delimiter, end):
            self.position += len(self._delimiter)
        return value

    def _end_of_quotes(self, quote: str) -> int:
        at = self.position + 1
        while at < len(self._text):
            if self._text[at] == "\\":
                at += 1
            elif self._text[at] == quote:
                return at + 1
            at += 1
        raise ValueError("a string that never ends")

    def _read_bare(self) -> Any:
        start = self.position
        match = (_REPAIRED_END if self._is_repairing else _BARE_END).search(self._text, start)
        self.position = len(self._text) if match is None else match.start()
        word = self._text[start : self.position].strip()
        if not word and self.position >= len(self._text):
            raise ValueError("expected a value")
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if _INTEGER.fullmatch(word):
            return int(word)
        if _NUMBER.fullmatch(word) and abs(number := float(word)) != float("inf"):
            return number
        return word
