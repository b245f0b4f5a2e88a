"""Calls in Qwen's form, almost XML: `<function=NAME><parameter=KEY>VALUE</parameter></function>`.

Only these four tags count; everything between them is text as it stands. Faults carry the texts of Go's XML
decoder. Ollama: model/parsers/qwen3coder.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corral.errors import OutputParseError
from corral.parsers.coerce import coerce, declared_types, find_tool
from corral.types import Tool

__all__ = ["parse_xml_calls"]

_TAG = re.compile(
    r'<(?P<open>function|parameter)(?:=(?P<value>[^>]+)|\s+name="(?P<name>[^"]*)")?>|</(?P<close>function|parameter)>'
)


def parse_xml_calls(body: str, tools: Sequence[Tool]) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Return the calls in `body` and the text that belongs to none of them.

    Raises:
        OutputParseError: tags that do not match.
    """
    reader = _Reader(tools)
    position = 0
    for match in _TAG.finditer(body):
        reader.text(body[position : match.start()])
        position = match.end()
        if match["open"]:
            reader.open(match["open"], match["value"] or match["name"] or "", match[0])
        else:
            reader.close(match["close"], match[0], 1 + body.count("\n", 0, position))
    reader.text(body[position:])
    if reader.stack:
        raise OutputParseError(f"XML syntax error on line {1 + body.count(chr(10))}: unexpected EOF")
    if not reader.calls:
        raise OutputParseError("EOF")
    return reader.calls, "".join(reader.strays)


class _Reader:
    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._parameter = ""
        self._value: list[str] = []
        self.stack: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.strays: list[str] = []

    def text(self, text: str) -> None:
        if self._is_in_value():
            self._value.append(text)
        elif text.strip():
            self.strays.append(text)

    def open(self, element: str, name: str, tag: str) -> None:
        if not self.stack:
            if element != "function":
                raise OutputParseError("expected element type <function> but have <parameter>")
            self.calls.append((name, {}))
        elif self.stack == ["function"] and element == "parameter":
            self._parameter, self._value = name, []
        else:
            self.text(tag)
        self.stack.append(element)

    def close(self, element: str, tag: str, line: int) -> None:
        if not self.stack:
            if not self.calls:
                raise OutputParseError(
                    f"XML syntax error on line {line}: unexpected end element </{element}>"
                )
            return
        if (opened := self.stack[-1]) != element:
            raise OutputParseError(
                f"XML syntax error on line {line}: element <{opened}> closed by </{element}>"
            )
        self.stack.pop()
        if len(self.stack) > 1:
            self.text(tag)
        elif self.stack == ["function"] and element == "parameter":
            name, arguments = self.calls[-1]
            types = declared_types(find_tool(self._tools, name), self._parameter)
            arguments[self._parameter] = coerce("".join(self._value), types)

    def _is_in_value(self) -> bool:
        return len(self.stack) > 1 and self.stack[1] == "parameter"
