"""Calls of GLM and Laguna: a name, then `<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>` pairs.

Any of the four tags may be missing as long as keys and values can be distinguished.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corral.chat import marks
from corral.chat.parsing.coerce import coerce_parameter, find_tool
from corral.types import Tool

_TAG = re.compile("|".join(marks.PAIRS))


def parse_glm_call(body: str) -> tuple[str, list[tuple[str, str]], str]:
    """Return the name, the pairs as they stand, and text that is neither.

    Raises:
        ValueError: no name, or a key without a value.
    """
    reader = _Reader()
    position = 0
    for match in _TAG.finditer(body):
        reader.take(body[position : match.start()], match[0])
        position = match.end()
    reader.take(body[position:], "")
    if not reader.name:
        raise ValueError("empty function name")
    if reader.key is not None:
        count = len(reader.pairs)
        raise ValueError(f"mismatched arg_key and arg_value counts: {count + 1} keys, {count} values")
    return reader.name, reader.pairs, "".join(reader.strays)


def coerce_pairs(pairs: Sequence[tuple[str, str]], name: str, tools: Sequence[Tool]) -> dict[str, Any]:
    """The arguments of a call, typed by the schema of the tool of that name."""
    tool = find_tool(tools, name)
    return {key: coerce_parameter(value, tool, key) for key, value in pairs}


class _Reader:
    """`key` is set while its value is still to come."""

    def __init__(self) -> None:
        self.name = ""
        self.key: str | None = None
        self.pairs: list[tuple[str, str]] = []
        self.strays: list[str] = []
        self._is_named = False
        self._opened = ""

    def take(self, text: str, tag: str) -> None:
        """Take the text before a tag; "" is the end."""
        if not self._is_named:
            text = self._take_name(text, tag)
        opened, self._opened = self._opened, tag
        if self.key is None:
            if tag in (marks.CLOSE_KEY, marks.OPEN_VALUE) and text.strip():
                self.key = text.strip()
            elif text.strip():
                self.strays.append(text)
        elif opened == marks.OPEN_VALUE or (text.strip() and tag != marks.OPEN_VALUE):
            self.pairs.append((self.key, text))
            self.key = None
        elif text.strip():
            self.strays.append(text)

    def _take_name(self, text: str, tag: str) -> str:
        """The first word is the name; what follows it is a key whose opening tag is missing."""
        self._is_named = True
        if tag in (marks.OPEN_KEY, ""):
            self.name = text.strip()
            return ""
        self.name, *rest = text.split(maxsplit=1) or [""]
        return "".join(rest)
