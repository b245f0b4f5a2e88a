"""Think and tool tags in a stream that may be cut anywhere: the machine under most parsers.

A parser is a set of modes. A mode says where its text goes (content, thinking, the body of a call, nowhere), which
tags end it, and which white space around it is dropped. `TaggedParser` reads the text, holds back the longest
suffix that may still become a live tag, and calls `_on_tag`, which picks the next mode.

Invariant: what is given out depends on the text alone, never on its cut, and every character is given out, is part
of a tag, or is white space next to one. No text is an error: a body that is not a call is given out as it stands,
with its tags.

A closing tag inside a value of a call is text of it. Whether it stood there shows only later: if no end makes a call
of the body, the first closing tag was the end, and what follows it is read again.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from corral.chat.parsing.calls import Calls
from corral.chat.parsing.events import MAX_HELD_CHARS, Parsed
from corral.chat.parsing.scan import ObjectScanner
from corral.types import ToolCall

_VISIBLE = re.compile(r"\S")
# What any form of call has soon after its tag, and how soon.
_CALL_LIKE = re.compile(r"[{\[(<]")
_MAX_TALK_CHARS = 1000
# Closing tags in values that a reply may have; each may make us read the text after it once more.
_MAX_PASSED_TAGS = 16


class TagSet:
    """Tags that are looked for together; the earliest wins, of two at one place the longer."""

    __slots__ = ("_longest", "_pattern", "_tags", "first_chars")

    def __init__(self, *tags: str) -> None:
        self._tags = tags
        self._longest = max(map(len, tags), default=0)
        # No tags: a pattern that matches nowhere.
        self._pattern = re.compile("|".join(map(re.escape, sorted(tags, key=len, reverse=True))) or r"(?!)")
        self.first_chars = tuple(dict.fromkeys(tag[0] for tag in tags))

    def find(self, text: str, start: int) -> re.Match[str] | None:
        return self._pattern.search(text, start)

    def find_at(self, text: str, start: int) -> re.Match[str] | None:
        return self._pattern.match(text, start)

    def held_length(self, text: str, start: int) -> int:
        """How many characters at the end of `text`, not before `start`, may be the beginning of a tag."""
        for i in range(max(start, len(text) - self._longest + 1), len(text)):
            if text[i] in self.first_chars and any(tag.startswith(text[i:]) for tag in self._tags):
                return len(text) - i
        return 0


class Sink(Enum):
    """Where the text of a mode goes."""

    CONTENT = auto()
    THINKING = auto()
    BODY = auto()  # kept for `_on_tag`
    DROP = auto()


class Trim(Enum):
    """White space to drop where a mode begins."""

    NONE = auto()
    ALL = auto()
    LINES = auto()  # all of it if it begins with a line break: a space before a word belongs to the word
    BLANKS = auto()  # up to the first line break


@dataclass(frozen=True, slots=True, eq=False)
class Mode:
    """What to do with the text up to the next of `tags`.

    `trims_end`: white space before a tag is dropped, unless it is one of `spaced_tags`; white space at the end of
    the reply too, unless `keeps_end`.
    `otherwise`: the tags count only as the first visible text; any other text is read, whole, in that mode.
    `may_be_talk`: a body that goes on for long without anything that calls are made of is text about its tag.
    `is_inside`: whether a body ends inside a value, so that a closing tag is not the end.
    """

    sink: Sink
    tags: TagSet
    trim_start: Trim = Trim.NONE
    trims_end: bool = False
    keeps_end: bool = False
    spaced_tags: tuple[str, ...] = ()
    otherwise: Mode | None = None
    is_inside: Callable[[str], bool] | None = None
    may_be_talk: bool = False


class TaggedParser(ABC):
    """Subclasses say what a tag means; they write with `_emit`, `_think`, `_call`, `_end_body` and `_enter`.

    `home` is the mode to go on in after a body that grew too long to be a call, or that the reply left open.
    """

    def __init__(self, first: Mode, home: Mode) -> None:
        self._home = home
        self._mode = first
        self._trim = first.trim_start
        self._opened = ""  # the tag that led to this mode, if that may turn out to be text
        self._scanner: ObjectScanner | None = None  # finds the end of a body that no tag ends
        self._partial = ""  # text that may become a tag
        self._spaces: list[str] = []  # white space before `_partial`, dropped if a tag follows
        self._space = ""  # the same, while its tag is taken
        self._skipped = ""  # white space that a probing mode met before its tag
        self._body: list[str] = []
        self._body_size = 0
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[ToolCall] = []
        self._call_count = 0
        # Where in the body the first closing tag stands that was not the end.
        self._passed: tuple[int, str] | None = None
        self._passed_count = 0
        self._again = ""  # text to read once more
        self._is_call_like = False  # the body holds something that calls are made of
        # First characters of the live tags, if text without them may pass unread.
        self._quick_chars: tuple[str, ...] | None = None
        self._update_quick_chars()

    def feed(self, text: str) -> Parsed:
        if self._quick_chars is not None and text:
            for char in self._quick_chars:
                if char in text:
                    break
            else:
                if not (self._mode.trims_end and text[-1].isspace()):
                    return Parsed(text) if self._mode.sink is Sink.CONTENT else Parsed("", text)
        return self._run(text, is_last=False)

    def finish(self) -> Parsed:
        return self._run("", is_last=True)

    # What a family defines.

    @abstractmethod
    def _on_tag(self, tag: str) -> None:
        """A live tag was read; "" stands for the end of the object that a scanner looks for."""

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """Make calls of a body; whether it holds any. `is_complete`: it was closed.

        `is_exact`: nothing else may be in it, and nothing is mended.
        """
        return False

    def _on_unclosed(self) -> None:
        """The reply ended inside a body: it is text, unless the family can tell a call."""
        self._end_body("")

    # What a family uses.

    def _enter(self, mode: Mode, opened: str = "", scanner: ObjectScanner | None = None) -> None:
        """Go on in `mode`; `opened` is the text to give out if what it seemed to begin does not come."""
        self._mode = mode
        self._trim = mode.trim_start
        self._is_call_like = False
        self._opened = self._space + opened if opened else ""
        self._scanner = scanner

    def _take_body(self) -> str:
        """The body so far, which then is empty."""
        body = "".join(self._body)
        self._body, self._body_size = [], 0
        return body

    def _append_body(self, text: str) -> None:
        self._body.append(text)
        self._body_size += len(text)

    def _end_body(self, tag: str) -> bool:
        """The body is over: it is calls, or text with what opened it and with `tag`; returns whether it is calls."""
        passed, self._passed = self._passed, None
        opened, self._opened = self._opened, ""
        body = self._take_body()
        if self._read_body(body, is_complete=bool(tag), is_exact=passed is not None):
            return True
        if passed is None:
            self._emit(opened + body + tag)
            return False
        at, closing = passed
        is_call = self._read_body(body[:at], is_complete=True, is_exact=False)
        if not is_call:
            self._emit(opened + body[:at] + closing)
        self._again = body[at + len(closing) :] + tag
        return is_call

    def _emit(self, text: str) -> None:
        if text:
            self._content.append(text)

    def _think(self, text: str) -> None:
        if text:
            self._thinking.append(text)

    def _take(self, found: Calls | None) -> bool:
        """Give out what was read of a body; whether there was anything."""
        if found is None:
            return False
        self._emit(found.strays)
        for name, arguments in found.calls:
            self._call(name, arguments)
        return True

    def _call(self, name: str, arguments: dict[str, Any]) -> None:
        self._calls.append(ToolCall(name, arguments, index=self._call_count))
        self._call_count += 1

    # The machine.

    def _run(self, text: str, *, is_last: bool) -> Parsed:
        self._read(text)
        if is_last:
            self._end()
        parsed = Parsed("".join(self._content), "".join(self._thinking), self._calls)
        self._content, self._thinking, self._calls = [], [], []
        self._update_quick_chars()
        return parsed

    def _read(self, text: str) -> None:
        if self._partial:
            text, self._partial = self._partial + text, ""
        position = 0
        while position < len(text) or self._again:
            if self._again:
                text, position, self._again = self._again + text[position:], 0, ""
            mode = self._mode
            if mode.otherwise is not None:
                text, position = self._probe(mode, mode.otherwise, text, position)
                continue
            if self._trim is not Trim.NONE:
                position = self._skip_space(text, position)
                if position == len(text):
                    return
            if self._scanner is not None:
                position = self._scan_body(self._scanner, text, position)
                continue
            match = mode.tags.find(text, position)
            end = len(text) - mode.tags.held_length(text, position) if match is None else match.start()
            most = self._most_body(text, position, end) if mode.sink is Sink.BODY else None
            if most is not None and self._body_size + end - position > most:
                limit = position + most - self._body_size
                self._append_body(text[position:limit])
                self._give_up_body()
                position = limit
                continue
            self._write(text[position:end])
            if match is None:
                self._partial = text[end:]
                return
            position = match.end()
            self._take_tag(match[0])

    def _most_body(self, text: str, position: int, end: int) -> int:
        """How long the body may become with this piece of text before it cannot be a call."""
        if not self._mode.may_be_talk or self._is_call_like:
            return MAX_HELD_CHARS
        found = _CALL_LIKE.search(text, position, end)
        if found is None or self._body_size + found.start() - position >= _MAX_TALK_CHARS:
            return _MAX_TALK_CHARS
        self._is_call_like = True
        return MAX_HELD_CHARS

    def _take_tag(self, tag: str) -> None:
        if self._mode.is_inside is not None and self._passes(self._mode.is_inside, tag):
            self._append_body(tag)
            return
        if tag in self._mode.spaced_tags:
            self._write_spaces()
        self._space, self._spaces = "".join(self._spaces), []
        self._on_tag(tag)
        self._space = ""

    def _passes(self, is_inside: Callable[[str], bool], tag: str) -> bool:
        """Whether a closing tag may be part of a value."""
        if self._passed_count == _MAX_PASSED_TAGS:
            return False
        body = self._take_body()
        self._append_body(body)
        if not is_inside(body):
            return False
        self._passed_count += 1
        self._passed = self._passed or (len(body), tag)
        return True

    def _scan_body(self, scanner: ObjectScanner, text: str, position: int) -> int:
        limit = min(len(text), position + MAX_HELD_CHARS - self._body_size)
        found = scanner.scan(text, position, limit)
        end = limit if found is None else found
        self._append_body(text[position:end])
        if found is not None:
            self._on_tag("")
        elif self._body_size >= MAX_HELD_CHARS:
            self._give_up_body()
        return end

    def _give_up_body(self) -> None:
        """A body that grew too long: text, from its beginning or from the closing tag on that it passed."""
        if self._passed is not None:
            self._end_body("")
        else:
            self._emit(self._opened + self._take_body())
            self._opened = ""
        self._enter(self._home)
        self._trim = Trim.NONE

    def _probe(self, mode: Mode, otherwise: Mode, text: str, position: int) -> tuple[str, int]:
        """Decide whether the mode's tags come first; returns what is to be read next, and from where."""
        visible = _VISIBLE.search(text, position)
        if visible is None:
            self._spaces.append(text[position:])
            return text, len(text)
        start = visible.start()
        match = mode.tags.find_at(text, start)
        if match is None and mode.tags.held_length(text, start) == len(text) - start:
            self._spaces.append(text[position:start])
            self._partial = text[start:]
            return text, len(text)
        spaces, self._spaces = "".join(self._spaces), []
        if match is None:
            self._emit(self._opened)
            self._enter(otherwise)
            return (spaces + text[position:], 0) if spaces else (text, position)
        self._skipped = spaces + text[position:start]
        self._on_tag(match[0])
        return text, match.end()

    def _skip_space(self, text: str, position: int) -> int:
        if self._trim is Trim.LINES:
            self._trim = Trim.ALL if text[position] in "\r\n" else Trim.NONE
        if self._trim is not Trim.NONE:
            kept = "\r\n" if self._trim is Trim.BLANKS else ""
            while position < len(text) and text[position].isspace() and text[position] not in kept:
                position += 1
            if position < len(text):
                self._trim = Trim.NONE
        return position

    def _write(self, text: str) -> None:
        mode = self._mode
        if not text or mode.sink is Sink.DROP:
            return
        if mode.sink is Sink.BODY:
            self._append_body(text)
            return
        parts = self._content if mode.sink is Sink.CONTENT else self._thinking
        if not mode.trims_end:
            parts.append(text)
            return
        visible = text.rstrip()
        if not visible:
            self._spaces.append(text)
            return
        parts += self._spaces
        parts.append(visible)
        self._spaces = [text[len(visible) :]] if len(visible) < len(text) else []

    def _write_spaces(self) -> None:
        if self._mode.sink is Sink.CONTENT:
            self._content += self._spaces
        elif self._mode.sink is Sink.THINKING:
            self._thinking += self._spaces
        self._spaces = []

    def _end(self) -> None:
        while (otherwise := self._mode.otherwise) is not None:
            text = "".join(self._spaces) + self._partial
            self._spaces, self._partial = [], ""
            self._emit(self._opened)
            self._enter(otherwise)
            self._read(text)
        partial, self._partial = self._partial, ""
        self._write(partial)
        if self._mode.keeps_end:
            self._write_spaces()
        self._spaces = []
        if self._mode.sink is Sink.BODY:
            self._on_unclosed()
            self._enter(self._home)
            if self._again:
                self._read("")
                self._end()

    def _update_quick_chars(self) -> None:
        mode = self._mode
        is_quick = (
            mode.sink in (Sink.CONTENT, Sink.THINKING)
            and mode.otherwise is None
            and self._trim is Trim.NONE
            and not self._partial
            and not self._spaces
        )
        self._quick_chars = mode.tags.first_chars if is_quick else None
