"""Calls written like Python: `f(a="x", n=[1, None])`, one or more, with or without brackets around them.

Names of constants may be JSON's. A bare word is a string. Ollama: model/parsers/olmo3.go, lfm2.go.
"""

from __future__ import annotations

import re
from typing import Any

from corral.chat.parsing.values import ValueReader, constant

_CALL = re.compile(r"\s*([\w.\-/]+)\s*\(")
_KEY = re.compile(r"\s*([^\s=,()]+)\s*=\s*")
_BETWEEN_CALLS = re.compile(r"[\s,;]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|' r"'[^'\\]*(?:\\.[^'\\]*)*'", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def parse_python_calls(text: str, *, is_complete: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls in `text`, separated by commas or line breaks.

    With `is_complete` brackets that are missing at the end are closed there.

    Raises:
        ValueError: anything else in the text.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:-1] if text.endswith("]") else text[1:] if is_complete else text
    reader = _Reader(text, is_complete=is_complete)
    calls = []
    while not reader.is_at_end():
        calls.append(reader.call())
    return calls


class _Reader(ValueReader):
    _has_strings = True

    def is_at_end(self) -> bool:
        self.skip(_BETWEEN_CALLS)
        return self.position >= len(self.text)

    def call(self) -> tuple[str, dict[str, Any]]:
        """Raises ValueError."""
        name = self.match(_CALL, "a call")[1]
        arguments: dict[str, Any] = {}
        self._begin(")")
        self.position -= 1  # the pattern took the bracket
        while not self._ends():
            key = self.match(_KEY, "an argument")[1]
            arguments[key] = self.value()
        return name, arguments

    def word(self) -> Any:
        return constant(self._bare())

    def _bare(self) -> str:
        """The text up to a comma or closing bracket that belongs to what is around it."""
        start = self.position
        open_ends: list[str] = []
        while self.position < len(self.text):
            char = self.text[self.position]
            if char in "\"'" and self._has_strings:
                if match := _STRING.match(self.text, self.position):
                    self.position = match.end()
                    continue
                # One that never ends; looking again would cost the rest of the text.
                self._has_strings = False
            if open_ends and char == open_ends[-1]:
                open_ends.pop()
            elif char in _CLOSING:
                open_ends.append(_CLOSING[char])
            elif not open_ends and char in ",)]}":
                break
            self.position += 1
        found = self.text[start : self.position].strip()
        if not found:
            raise ValueError(f"expected a value at {start}")
        return found
