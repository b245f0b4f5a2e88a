"""Calls in Qwen's form, almost XML: `<function=NAME><parameter=KEY>VALUE</parameter></function>`.

Only these four tags count; everything between them is text as it stands. Ollama: model/parsers/qwen3coder.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corral.chat import marks
from corral.chat.parsing.coerce import coerce_parameter, find_tool
from corral.types import Tool

_Calls = tuple[list[tuple[str, dict[str, Any]]], str]

_TAG = re.compile(
    r'<(?P<open>function|parameter)(?:=(?P<value>[^>]+)|\s+name="(?P<name>[^"]*)")?>|</(?P<close>function|parameter)>'
)


def parse_xml_calls(body: str, tools: Sequence[Tool]) -> _Calls:
    """Return the calls in `body` and the text that belongs to none of them; tags may stand in values, in pairs.

    Raises:
        ValueError: tags that do not match.
    """
    reader = _Reader(tools)
    position = 0
    for match in _TAG.finditer(body):
        reader.text(body[position : match.start()])
        position = match.end()
        if match["open"]:
            reader.open(match["open"], _name(match), match[0])
        else:
            reader.close(match["close"], match[0])
    reader.text(body[position:])
    if reader.stack:
        raise ValueError(f"<{reader.stack[-1]}> is not closed")
    if not reader.calls:
        raise ValueError("no call")
    return reader.calls, "".join(reader.strays)


def mend_xml_calls(body: str, tools: Sequence[Tool]) -> _Calls:
    """Return the same where closing tags are missing: a value ends at the next tag that may follow it."""
    mender = _Mender(tools)
    position = 0
    for match in _TAG.finditer(body):
        mender.text(body[position : match.start()])
        position = match.end()
        mender.tag(match)
    mender.text(body[position:])
    mender.end_value()
    return mender.calls, "".join(mender.strays)


def is_in_parameter(body: str) -> bool | None:
    """Whether `body` ends inside a value; None if there is no such form in it."""
    opened = body.rfind("<parameter")
    if opened < 0:
        return False if "<function" in body else None
    return opened > body.rfind(marks.CLOSE_PARAMETER)


def _name(match: re.Match[str]) -> str:
    return (match["value"] or match["name"] or "").strip().strip("\"'")


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
                raise ValueError("a parameter outside of a function")
            self.calls.append((name, {}))
        elif self.stack == ["function"] and element == "parameter":
            self._parameter, self._value = name, []
        else:
            self.text(tag)
        self.stack.append(element)

    def close(self, element: str, tag: str) -> None:
        if not self.stack:
            if not self.calls:
                raise ValueError(f"{tag} closes nothing")
            return
        if (opened := self.stack[-1]) != element:
            raise ValueError(f"<{opened}> is closed by {tag}")
        self.stack.pop()
        if len(self.stack) > 1:
            self.text(tag)
        elif self.stack == ["function"] and element == "parameter":
            self._end_value()

    def _end_value(self) -> None:
        name, arguments = self.calls[-1]
        tool = find_tool(self._tools, name)
        arguments[self._parameter] = coerce_parameter("".join(self._value), tool, self._parameter)

    def _is_in_value(self) -> bool:
        return len(self.stack) > 1 and self.stack[1] == "parameter"


class _Mender:
    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._tool: Tool | None = None
        self._parameter: str | None = None
        self._value: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.strays: list[str] = []

    def text(self, text: str) -> None:
        if self._parameter is not None:
            self._value.append(text)
        elif text.strip():
            self.strays.append(text)

    def tag(self, match: re.Match[str]) -> None:
        element, name = match["open"], _name(match)
        if element == "parameter" and self._may_follow(name):
            self.end_value()
            self._parameter = name
        elif element == "function" and (self._parameter is None or find_tool(self._tools, name)):
            self.end_value()
            self._tool = find_tool(self._tools, name)
            self.calls.append((name, {}))
        elif match["close"] == "parameter" or (match["close"] == "function" and self.calls):
            self.end_value()
        else:
            self.text(match[0])

    def end_value(self) -> None:
        if self._parameter is not None:
            value = coerce_parameter("".join(self._value), self._tool, self._parameter)
            self.calls[-1][1][self._parameter] = value
            self._parameter, self._value = None, []

    def _may_follow(self, name: str) -> bool:
        """Whether a parameter may begin here: not inside of a value unless the tool has one of that name."""
        if not self.calls:
            return False
        if self._parameter is None or self._tool is None:
            return True
        return name in (self._tool.function.parameters.properties or {})
