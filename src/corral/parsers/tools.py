"""Tool calls in a form that only the template's tag is known of. Ollama: tools/tools.go.

After the tag, JSON objects that call a declared tool become calls. What turns out to be no call stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from corral.parsers.events import Parsed, held_suffix
from corral.types import Tool, ToolCall

__all__ = ["ToolParser"]

_MAX_HELD_CHARS = 1 << 20
_CLOSING = re.compile(r"\s*(?:</[\w|]+>|\[/[\w|]+\]|[\])},;]|\s)*")


class ToolParser:
    """`tag` `{` or `[` counts only as the first visible character of the reply."""

    def __init__(self, tag: str, tools: Sequence[Tool]) -> None:
        self._tag = tag
        self._is_bare = tag in ("{", "[")
        self._names = [tool.function.name for tool in tools if tool.function.name]
        self._held = ""
        self._is_calling = False
        self._is_done = False
        self._call_count = 0
        self._scanner = _ObjectScanner()

    def feed(self, text: str) -> Parsed:
        if self._is_done:
            return Parsed(text)
        if not self._is_calling and not self._held and self._tag[0] not in text:
            self._is_done = self._is_bare and bool(text.strip())
            return Parsed(text)
        self._held += text
        parsed = Parsed()
        if not self._is_calling:
            self._search(parsed)
        if self._is_calling:
            self._take_calls(parsed)
        return parsed

    def finish(self) -> Parsed:
        """Held text that never became a call is text of the reply."""
        held, self._held = self._held, ""
        if not self._is_calling or not self._call_count:
            return Parsed(held)
        rest = held[_matched(_CLOSING, held) :]
        return Parsed(rest) if rest.strip() and not self._is_closing(rest) else Parsed()

    def _search(self, parsed: Parsed) -> None:
        head, tag, _ = self._held.partition(self._tag)
        if tag and not (self._is_bare and head.strip()):
            parsed.content += head
            self._held = self._held[len(head) :]
            self._is_calling = True
            return
        keep = 0 if tag else held_suffix(self._held, self._tag)
        released = self._held[: len(self._held) - keep]
        if self._is_bare and released.strip():
            self._is_done = True
            keep, released = 0, self._held
        parsed.content += released
        self._held = self._held[len(released) :]

    def _take_calls(self, parsed: Parsed) -> None:
        while (found := self._scanner.next_object(self._held)) is not None:
            start, end = found
            call = _find_call(_load(self._held[start:end]), self._names, self._held[:start])
            if call is None:
                if self._is_bare and not self._call_count:
                    self._release(parsed)
                    return
                self._scanner.skip_to(end)
                continue
            name, arguments = call
            parsed.tool_calls.append(ToolCall(name, arguments, index=self._call_count))
            self._call_count += 1
            self._held = self._held[end:]
            self._scanner = _ObjectScanner()
            self._held = self._held[_matched(_CLOSING, self._held) :]
        if self._call_count and not self._is_bare:
            self._release_text_after_calls(parsed)
        if len(self._held) > _MAX_HELD_CHARS:
            self._release(parsed)

    def _release_text_after_calls(self, parsed: Parsed) -> None:
        """Text after a call that can be no part of another one goes on as content."""
        if not self._held or "{" in self._held or self._is_closing(self._held):
            return
        self._is_calling = False
        self._search(parsed)

    def _is_closing(self, text: str) -> bool:
        """Whether a text may still grow into a closing tag or another call's tag."""
        stripped = text.strip()
        closing = ("</" + self._tag[1:], "[/" + self._tag[1:])
        return not stripped or any(
            word.startswith(stripped) or stripped.startswith(word) for word in (*closing, self._tag)
        )

    def _release(self, parsed: Parsed) -> None:
        parsed.content += self._held
        self._held = ""
        self._is_done = True


class _ObjectScanner:
    """Finds balanced `{...}` in a growing text without looking at any character twice."""

    def __init__(self) -> None:
        self._position = 0
        self._start = -1
        self._depth = 0
        self._is_string = False
        self._is_escaped = False

    def skip_to(self, position: int) -> None:
        self.__init__()  # type: ignore[misc]
        self._position = position

    def next_object(self, text: str) -> tuple[int, int] | None:
        for i in range(self._position, len(text)):
            char = text[i]
            if self._is_string:
                if self._is_escaped:
                    self._is_escaped = False
                elif char == "\\":
                    self._is_escaped = True
                elif char == '"':
                    self._is_string = False
            elif char == "{":
                if self._depth == 0:
                    self._start = i
                self._depth += 1
            elif self._depth and char == '"':
                self._is_string = True
            elif self._depth and char == "}":
                self._depth -= 1
                if self._depth == 0:
                    self._position = i + 1
                    return self._start, i + 1
        self._position = len(text)
        return None


def _matched(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.match(text)
    return match.end() if match else 0


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _find_call(value: Any, names: Sequence[str], before: str) -> tuple[str, dict[str, Any]] | None:
    """The call that an object means, at any depth; a name just before the object names it too."""
    if (found := _call_in(value, names)) is not None:
        return found
    if not isinstance(value, dict) or "name" in value:
        return None
    named = [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", before)]
    return (max(named, key=len), value) if named else None


def _call_in(value: Any, names: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    if isinstance(value, list):
        return next((found for v in value if (found := _call_in(v, names)) is not None), None)
    if not isinstance(value, dict):
        return None
    name = value.get("name")
    if isinstance(name, str) and name in names:
        arguments = _as_object(value.get("arguments", value.get("parameters")))
        return None if arguments is None else (name, arguments)
    for name in names:
        if (arguments := _as_object(value.get(name))) is not None:
            return name, arguments
    return next((found for v in value.values() if (found := _call_in(v, names)) is not None), None)


def _as_object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        value = _load(value)
    return value if isinstance(value, dict) else None
