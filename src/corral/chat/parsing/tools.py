"""Tool calls in a form of which only the template's tag is known. Ollama: tools/tools.go.

After the tag, JSON objects that name a declared tool become calls. What turns out to be no call is given back as
text, the tag included; what surrounds a call (names, brackets, closing tags, white space) is part of its form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from corral.chat.parsing.calls import Calls, calls_of, read_calls
from corral.chat.parsing.events import MAX_HELD_CHARS, Parsed
from corral.chat.parsing.scan import ObjectScanner
from corral.chat.parsing.tags import TagSet
from corral.chat.parsing.values import parse_value
from corral.types import Tool, ToolCall

# What may stand between a call and the next: brackets, separators, closing tags.
_AFTER_CALL = re.compile(r"[\s,;`)}\]]+|</[^<>\n]{1,48}>|<[|｜][^<>\n]{1,48}[|｜]>|\[/[^\[\]\n]{1,48}\]")
_UNFINISHED_CLOSING = re.compile(r"<(?:[/|｜][^<>\n]{0,49})?|\[(?:/[^\[\]\n]{0,48})?")
# What forms of calls put between the tag and the arguments; any other word is text.
_FORM = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|\b(?:functions?|json|python|tool_?calls?|call|name|arguments|parameters|args)\b|[\W_]"
)
_PAIRED = re.compile(r"<[^<>|｜/]+>")
_ARGUMENT_KEYS = frozenset({"arguments", "parameters"})
_MAX_SEARCH_DEPTH = 100
_MAX_BEFORE_OBJECT = 1000
_MAX_BROKEN_OBJECTS = 64  # each makes us join the body again


class _State(Enum):
    SEARCH = auto()  # text, until the tag
    CALL = auto()  # after the tag, until an object ends
    AFTER = auto()  # after a call: more of them, or closing tags, or text
    DONE = auto()  # all the rest is text


class ToolParser:
    """The tags `{` and `[` count only as the first visible character of the reply, or after a call."""

    def __init__(self, tag: str, tools: Sequence[Tool], *, is_strict: bool = False) -> None:
        """`is_strict`: only an object with the name of a declared tool and its arguments is a call."""
        self._is_strict = is_strict
        self._tag = tag
        self._tags = TagSet(tag)
        self._closing = tag.replace("<", "</", 1) if _PAIRED.fullmatch(tag) else ""
        self._tools = tools
        self._is_bare = tag in ("{", "[")
        self._names = [tool.function.name for tool in tools if tool.function.name]
        self._state = _State.SEARCH
        self._held = ""  # may become a tag
        self._body: list[str] = []  # from the tag on, while the state is CALL
        self._body_size = 0
        self._broken_count = 0
        self._opened_size = 0
        self._talk_start = 0  # where the text begins in which an object has to begin soon
        self._scanner = ObjectScanner(0, counts_brackets=False)
        self._content: list[str] = []
        self._calls: list[ToolCall] = []
        self._call_count = 0

    def feed(self, text: str) -> Parsed:
        if self._state is _State.DONE:
            return Parsed(text)
        if self._state is _State.SEARCH and not self._held and self._tag[0] not in text:
            if self._is_bare and not self._call_count and text.strip():
                self._state = _State.DONE
            return Parsed(text)
        text, self._held = self._held + text, ""
        position = 0
        while position < len(text):
            match self._state:
                case _State.SEARCH:
                    position = self._search(text, position)
                case _State.CALL:
                    position = self._read_call(text, position)
                case _State.AFTER:
                    position = self._read_after(text, position)
                case _State.DONE:
                    self._content.append(text[position:])
                    position = len(text)
        return self._take_parsed()

    def finish(self) -> Parsed:
        """What never became a call is text of the reply."""
        for _ in range(_MAX_BROKEN_OBJECTS):
            if self._state is not _State.CALL or self._is_strict or not self._body or not self._mend():
                break
        self._content += self._body
        self._content.append(self._held)
        self._body, self._held = [], ""
        return self._take_parsed()

    def _mend(self) -> bool:
        """Look for calls in a body that holds no whole object; whether there were any."""
        body = "".join(self._body)[self._opened_size :]
        head, closing, tail = body.partition(self._closing) if self._closing else (body, "", "")
        found = read_calls(head, self._tools, is_complete=bool(closing), tags=(self._tag,))
        if found is None or any(name not in self._names for name, _ in found.calls):
            return False
        self._content.append(found.strays)
        for name, arguments in found.calls:
            self._add(name, arguments)
        self._body, self._state = [], _State.AFTER
        whole = self.feed(tail)
        self._content, self._calls = [whole.content], whole.tool_calls
        return True

    def _add(self, name: str, arguments: dict[str, Any]) -> None:
        self._calls.append(ToolCall(name, arguments, index=self._call_count))
        self._call_count += 1

    def _take_parsed(self) -> Parsed:
        parsed = Parsed("".join(self._content), "", self._calls)
        self._content, self._calls = [], []
        return parsed

    def _search(self, text: str, position: int) -> int:
        match = self._tags.find(text, position)
        end = len(text) - self._tags.held_length(text, position) if match is None else match.start()
        before = text[position:end]
        if self._is_bare and not self._call_count and before.strip():
            self._state = _State.DONE
            return position
        self._content.append(before)
        if match is None:
            self._held = text[end:]
            return len(text)
        if self._is_bare:
            return self._begin_call(end)
        return self._begin_call(match.end(), match[0])

    def _begin_call(self, position: int, opened: str = "") -> int:
        self._state = _State.CALL
        self._body, self._body_size = [opened], len(opened)
        self._broken_count = 0
        self._opened_size = self._talk_start = len(opened)
        self._scanner = ObjectScanner(len(opened), counts_brackets=self._tag == "[")
        return position

    def _read_call(self, text: str, position: int) -> int:
        limit = min(len(text), position + MAX_HELD_CHARS - self._body_size)
        if not self._scanner.has_begun:
            limit = min(limit, position + _MAX_BEFORE_OBJECT - (self._body_size - self._talk_start))
        found = self._scanner.scan(text, position, limit)
        end = limit if found is None else found
        self._body.append(text[position:end])
        self._body_size += end - position
        if found is None:
            if self._body_size >= MAX_HELD_CHARS or self._is_talk():
                self._give_back()
            return end
        if self._scanner.is_list_end:
            self._give_back()
            return end
        body = "".join(self._body)
        value = _load(body[self._scanner.start :])
        if value is None and self._tag != "{" and self._broken_count < _MAX_BROKEN_OBJECTS:
            self._broken_count += 1
            self._body = [body]  # no JSON: a later object may be
            self._talk_start = self._body_size
            return end
        meant = self._find_calls(value, body)
        if meant is None:
            self._give_back()
            return end
        before = body[self._opened_size : self._scanner.start]
        if _FORM.sub("", before.replace(meant.calls[0][0], "")):
            self._content.append(before)
        self._content.append(meant.strays)
        for name, arguments in meant.calls:
            self._add(name, arguments)
        self._body, self._body_size = [], 0
        self._state = _State.AFTER
        return end

    def _is_talk(self) -> bool:
        """Whether so much text without an object follows the tag that it is not a call, and need not wait for one."""
        has_begun = self._scanner.has_begun
        return not has_begun and self._body_size - self._talk_start >= _MAX_BEFORE_OBJECT

    def _find_calls(self, value: Any, body: str) -> Calls | None:
        """The calls of declared tools that a value means."""
        if self._is_strict:
            return _find_strict_call(value, self._names)
        found = calls_of(value, self._tools)
        if found is not None and self._is_bare and not (value.keys() & _ARGUMENT_KEYS):
            found = None  # the answer may be an object with a name
        if found is not None and all(name in self._names for name, _ in found.calls):
            return found
        return _find_call(value, self._names, body)

    def _read_after(self, text: str, position: int) -> int:
        if not self._is_bare:
            if match := self._tags.find_at(text, position):
                return self._begin_call(match.end(), match[0])
            if self._tags.held_length(text, position) == len(text) - position:
                self._held = text[position:]
                return len(text)
        if match := _AFTER_CALL.match(text, position):
            return match.end()
        if text[position] == "{":
            return self._begin_call(position)
        if _UNFINISHED_CLOSING.fullmatch(text, position):
            self._held = text[position:]
            return len(text)
        self._state = _State.SEARCH
        return position

    def _give_back(self) -> None:
        """What was collected is not a call. A bare tag had its one chance, unless there were calls before."""
        self._content += self._body
        self._body, self._body_size = [], 0
        self._state = _State.SEARCH if self._call_count or not self._is_bare else _State.DONE


def _load(text: str) -> Any:
    try:
        return parse_value(text)
    except ValueError:
        return None


def _find_call(value: Any, names: Sequence[str], text: str) -> Calls | None:
    """The call that an object means; the tool is the one whose name comes first in `text`, of two the longer."""
    found = [(at, -len(name), name) for name in names if (at := text.find(name)) >= 0]
    if not found or not isinstance(value, dict):
        return None
    name = min(found)[2]
    if "name" in value:
        arguments = _named_arguments(value)
    else:
        arguments = _search_arguments(value, name, _MAX_SEARCH_DEPTH)
        arguments = value if arguments is None else arguments
    return None if arguments is None else Calls([(name, arguments)])


def _find_strict_call(value: Any, names: Sequence[str]) -> Calls | None:
    if not isinstance(value, dict) or value.get("name") not in names or len(value) > 2:
        return None
    arguments = _named_arguments(value)
    return None if arguments is None else Calls([(value["name"], arguments)])


def _named_arguments(value: dict[str, Any]) -> dict[str, Any] | None:
    for key in ("arguments", "parameters"):
        if (arguments := _as_object(value.get(key))) is not None:
            return arguments
    return None


def _search_arguments(value: Any, name: str, depth: int) -> dict[str, Any] | None:
    if depth == 0:
        return None
    if isinstance(value, list):
        members = value
    elif not isinstance(value, dict):
        return None
    elif "name" in value:
        return _named_arguments(value)
    elif (arguments := _as_object(value.get(name))) is not None:
        return arguments
    else:
        members = list(value.values())
    for member in members:
        if (arguments := _search_arguments(member, name, depth - 1)) is not None:
            return arguments
    return None


def _as_object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        value = _load(value)
    return value if isinstance(value, dict) else None
