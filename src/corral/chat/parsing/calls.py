"""Calls that a model wrote in another form than its family's: whatever can mean only one thing.

Every parser comes here when it cannot read a call in its own form. Known are JSON objects in the forms of several
families, one or more of them, in lists, code fences or strings, with text around them; Qwen's XML form; GLM's pairs;
calls like Python's, and a tool's name in front of its arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from corral.chat import marks
from corral.chat.parsing.coerce import find_tool
from corral.chat.parsing.glm_call import coerce_pairs, parse_glm_call
from corral.chat.parsing.pythonic import parse_python_calls
from corral.chat.parsing.qwen_xml import is_in_parameter, mend_xml_calls, parse_xml_calls
from corral.chat.parsing.scan import ObjectScanner
from corral.chat.parsing.values import MAX_MENDED_CHARS, ValueReader, parse_json, parse_value
from corral.types import Tool

_NAMES = ("name", "tool_name", "function_name", "function", "tool")
_ARGUMENTS = ("arguments", "parameters", "args", "input", "kwargs")
# What forms of calls carry besides name and arguments.
_FORM_KEYS = frozenset({"id", "type", "index", "call_id", "tool_call_id"})
_BRACKET = re.compile(r"[{\[]")
# Text between calls that belongs to their form.
_FORM = re.compile(r"```(?:json|python|xml|tool_call|tool_code)?|[\s,;\[\](){}]+")
_AFTER_VALUE = re.compile(r"\A[\s,;]*[\])}]+")
_BEFORE_VALUE = re.compile(r"[\[({]+\s*\Z")
_NAME_BEFORE = re.compile(r"[\s`,;\[(]*(?:functions?[.:])?(?P<name>[^\s`(:=]+)[\s`(:=]*")
_ANY_BRACKET = re.compile(r"[{\[(]")
# A string, or the quote of one without an end.
_STRING_OR_QUOTE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|' r"'[^'\\]*(?:\\.[^'\\]*)*'|[\"']", re.DOTALL)
_TOOL_NAME = re.compile(r"[\w.:/-]+")
_PYTHON_CALL = re.compile(r"[\s\[]*([\w.\-/]+)\s*\(")
_MAX_BROKEN = 16  # each makes us look at the text again


@dataclass(slots=True)
class Calls:
    """Calls, and text beside them that is none."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    strays: str = ""


def read_arguments(value: Any, *, is_complete: bool = True) -> dict[str, Any] | None:
    """What stands for arguments as an object: none, one, its JSON, a list of one; None if it is anything else.

    Without `is_complete` the text may have been cut off.
    """
    if isinstance(value, str) and not value.strip():
        return {} if is_complete else None
    for _ in range(2):  # JSON in JSON
        if not isinstance(value, str):
            break
        if not value.strip():
            return {}
        try:
            value = parse_value(value, is_complete=is_complete)
        except ValueError:
            return None
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else {}
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def read_calls(
    body: str,
    tools: Sequence[Tool],
    *,
    is_complete: bool = True,
    is_exact: bool = False,
    tags: Sequence[str] = (),
) -> Calls | None:
    """The calls in the body of a call; None if nothing in it is one for certain.

    `is_complete`: its closing tag was there. `is_exact`: other text may not be in it, and nothing is mended that
    a second reading of the body might find in another way. `tags`: the family's, which may stand in it again.
    Nothing is mended for a request without tools, which expects text.
    """
    body = without_tags(body, tags)
    found = _read_marked(body, tools, is_complete=is_complete, is_exact=is_exact)
    if found is None:
        found = _json_calls(body, tools, is_complete, tags) or _python_calls(body, tools, is_complete)
    if found is None:
        return None
    return None if is_exact and found.strays else found


def is_in_value(body: str) -> bool:
    """Whether the body of a call ends inside a value, so that a tag there is text: in Qwen's form, or in a string."""
    in_parameter = is_in_parameter(body)
    if in_parameter is not None:
        return in_parameter
    if marks.OPEN_VALUE in body:
        return body.rfind(marks.OPEN_VALUE) > body.rfind(marks.CLOSE_VALUE)
    bracket = _ANY_BRACKET.search(body)
    if bracket is None:
        return False
    return any(len(found[0]) == 1 for found in _STRING_OR_QUOTE.finditer(body, bracket.start()))


def without_tags(body: str, tags: Sequence[str]) -> str:
    """The body without tags of its family that were doubled around it."""
    if not tags:
        return body.strip()
    opened = _repeated(tuple(tags)).match(body)
    start = opened.end() if opened is not None else 0
    end = len(body.rstrip())
    while tag := next((tag for tag in tags if body.endswith(tag, start, end)), ""):
        end -= len(tag)
        while end > start and body[end - 1].isspace():
            end -= 1
    return body[start:end]


@lru_cache(maxsize=64)
def _repeated(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\s*(?:(?:{'|'.join(map(re.escape, tags))})\s*)*")


def _read_marked(body: str, tools: Sequence[Tool], *, is_complete: bool, is_exact: bool) -> Calls | None:
    """Calls in the forms that their tags tell."""
    bracket = _BRACKET.search(body)
    head = body if bracket is None else body[: bracket.start()]
    if "<function" in head:
        try:
            calls, strays = parse_xml_calls(body, tools)
        except ValueError:
            if is_exact or not is_complete or not tools:
                return None
            calls, strays = mend_xml_calls(body, tools)
        return _with_inner_arguments(calls, strays)
    if marks.OPEN_KEY in head:
        return read_pairs(body, tools, is_complete=is_complete)
    return None


def read_pairs(body: str, tools: Sequence[Tool], *, is_complete: bool) -> Calls | None:
    """A call in GLM's form; one that may have been cut off has to have all that its tool requires."""
    try:
        name, pairs, strays = parse_glm_call(body)
    except ValueError:
        return None
    tool = find_tool(tools, name)
    arguments = coerce_pairs(pairs, name, tools)
    if tool is None and not (pairs and _TOOL_NAME.fullmatch(name)):
        return None
    if not is_complete:
        required = tool.function.parameters.required if tool is not None else ()
        if tool is None or any(key not in arguments for key in required):
            return None
    return Calls([(name, arguments)], strays)


def _with_inner_arguments(calls: list[tuple[str, dict[str, Any]]], strays: str) -> Calls | None:
    """JSON where an XML call has its parameters is the parameters."""
    if not calls or not all(name for name, _ in calls):
        return None
    if len(calls) == 1 and not calls[0][1] and strays.strip():
        arguments = read_arguments(strays)
        if arguments is not None:
            return Calls([(calls[0][0], arguments)])
    return Calls(calls, strays)


def read_listed_calls(
    body: str, tools: Sequence[Tool], *, is_complete: bool, is_exact: bool, tags: Sequence[str] = ()
) -> Calls | None:
    """Calls of families that write them like Python; no call at all is one of them."""
    body = without_tags(body, tags)
    try:
        return Calls(parse_python_calls(body, is_complete=is_complete))
    except ValueError:
        return read_calls(body, tools, is_complete=is_complete, is_exact=is_exact, tags=tags)


def _json_calls(body: str, tools: Sequence[Tool], is_complete: bool, tags: Sequence[str]) -> Calls | None:
    try:
        value = parse_json(body)
        if isinstance(value, str):  # the call once more as JSON
            value = parse_json(value)
        found = calls_of(value, tools)
    except ValueError:
        found = None
    if found is not None or not tools or len(body) > MAX_MENDED_CHARS:
        return found
    return _JSONCalls(body, tools, is_complete, tags).read()


def _python_calls(body: str, tools: Sequence[Tool], is_complete: bool) -> Calls | None:
    begun = _PYTHON_CALL.match(body)
    if begun is None or find_tool(tools, begun[1]) is None:
        return None
    try:
        calls = parse_python_calls(body, is_complete=is_complete)
    except ValueError:
        return None
    return Calls(calls) if all(find_tool(tools, name) for name, _ in calls) else None


class _JSONCalls:
    """Walks over the values in a text."""

    def __init__(self, body: str, tools: Sequence[Tool], is_complete: bool, tags: Sequence[str]) -> None:
        self._body = body
        self._tags = tags
        self._tools = tools
        self._is_complete = is_complete
        self._calls: list[tuple[str, dict[str, Any]]] = []
        self._strays: list[str] = []

    def read(self) -> Calls | None:
        """None if there is no call."""
        body, position, searched, broken = self._body, 0, 0, 0
        while (bracket := _BRACKET.search(body, searched)) is not None:
            start = bracket.start()
            if (end := self._take(position, start)) is None:
                broken += 1
                if broken > _MAX_BROKEN:
                    break
                if body[start] == "[":  # what is in it may be calls, one by one
                    searched = start + 1
                    continue
                if (end := ObjectScanner().scan(body, start, len(body))) is None:
                    break
                self._stray(body[position:start])
                self._strays.append(body[start:end])
            position = searched = end
        self._stray(body[position:])
        return Calls(self._calls, "".join(self._strays)) if self._calls else None

    def _stray(self, text: str) -> None:
        """Keep text between values, without what belongs to their form."""
        for tag in self._tags:
            text = text.replace(tag, "")
        text = _BEFORE_VALUE.sub("", _AFTER_VALUE.sub("", text))
        self._strays.append(text if _FORM.sub("", text) else "")

    def _take(self, position: int, start: int) -> int | None:
        """Take the value at `start` and the text before it, which begins at `position`; returns its end.

        None if it cannot be read, or is a list of more than calls.
        """
        reader = ValueReader(self._body, start, is_complete=self._is_complete)
        try:
            value = reader.value()
        except ValueError:
            return None
        before = self._body[position:start]
        found = calls_of(value, self._tools)
        if found is None and isinstance(value, dict) and (name := self._tool_named(before)):
            before, found = "", Calls([(name, value)])
        if found is None and isinstance(value, list):
            return None
        self._stray(before)
        if found is None:
            self._strays.append(self._body[start : reader.position])
        else:
            self._calls += found.calls
            self._strays.append(found.strays)
        return reader.position

    def _tool_named(self, text: str) -> str:
        """The tool whose name is all that a text holds."""
        match = _NAME_BEFORE.fullmatch(text)
        return match["name"] if match is not None and find_tool(self._tools, match["name"]) else ""


def calls_of(value: Any, tools: Sequence[Tool]) -> Calls | None:
    """The calls that a value means: one, a list of them, or an object around either; None if it is anything else."""
    if isinstance(value, list):
        return _all_calls(value, tools)
    if not isinstance(value, dict):
        return None
    members = {name.lower(): (name, member) for name, member in value.items()}
    for key in ("function", "function_call", "tool_call", "tool_calls"):
        if key in members and isinstance(members[key][1], dict | list):
            found = calls_of(members.pop(key)[1], tools)
            return _with_rest(found, members)
    name = _take_name(members)
    if not name:
        return _call_by_key(value, tools)
    tool = find_tool(tools, name)
    for key in _ARGUMENTS:
        if key in members:
            arguments = read_arguments(members.pop(key)[1])
            return None if arguments is None else _with_rest(Calls([(name, arguments)]), members)
    rest = {given: member for key, (given, member) in members.items() if key not in _FORM_KEYS}
    properties = tool.function.parameters.properties or {} if tool is not None else {}
    return Calls([(name, rest)]) if tool is not None and all(key in properties for key in rest) else None


def _all_calls(values: list[Any], tools: Sequence[Tool]) -> Calls | None:
    whole = Calls()
    for value in values:
        if (found := calls_of(value, tools)) is None:
            return None
        whole.calls += found.calls
        whole.strays += found.strays
    return whole if whole.calls else None


def _take_name(members: dict[str, tuple[str, Any]]) -> str:
    for key in _NAMES:
        if key in members and isinstance(members[key][1], str):
            return str(members.pop(key)[1]).strip()
    return ""


def _call_by_key(value: dict[str, Any], tools: Sequence[Tool]) -> Calls | None:
    """`{"NAME": {...}}` of a declared tool."""
    if len(value) != 1:
        return None
    ((name, arguments),) = value.items()
    is_call = isinstance(arguments, dict) and find_tool(tools, name) is not None
    return Calls([(name, arguments)]) if is_call else None


def _with_rest(found: Calls | None, members: dict[str, tuple[str, Any]]) -> Calls | None:
    """A call with members that its form does not have: they are text of the reply."""
    rest = {given: member for key, (given, member) in members.items() if key not in _FORM_KEYS}
    if found is not None and rest:
        found.strays += json.dumps(rest, ensure_ascii=False)
    return found
